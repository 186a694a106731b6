"""Figures that go to a logger or come from a metric object: Lightning, Hugging Face, TensorBoard, csv, MLflow,
torchmetrics, MONAI.
"""

from __future__ import annotations

import csv
from collections.abc import Callable
from types import ModuleType
from typing import Any

from traindx.core import compat
from traindx.watch.interventions.readings import Readings
from traindx.watch.runtime.after_import import AfterImport
from traindx.watch.runtime.patching import Patches


class _Rows:
    """A csv writer that is listened to: the first row of words names the columns of the rows of numbers."""

    def __init__(self, writer: Any, readings: Readings) -> None:
        self._writer, self._readings = writer, readings
        self._header: list[str] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._writer, name)

    def writerow(self, row: Any) -> Any:
        cells = list(row)
        numbers = [_number(cell) for cell in cells]
        if cells and all(isinstance(cell, str) for cell in cells) and all(number is None for number in numbers):
            self._header = [str(cell) for cell in cells]
        for name, number in zip(self._header, numbers, strict=False):
            self._readings.add(name, number, "logged as csv")
        return self._writer.writerow(cells)

    def writerows(self, rows: Any) -> Any:
        for row in rows:
            self.writerow(row)


def _number(cell: Any) -> Any:
    if not isinstance(cell, str):
        return cell
    try:
        return float(cell)
    except ValueError:
        return None


class Loggers:
    """Listens to what is logged and to what metric objects compute.

    Args:
        readings: Where figures go.
        evaluating: Whether the last call of a network was one without gradients.
    """

    def __init__(self, readings: Readings, evaluating: Callable[[], bool]) -> None:
        self.readings = readings
        self.evaluating = evaluating
        self.patches = Patches()

    def install(self, imports: AfterImport) -> None:
        """Patch what is there, and the rest when it is imported."""
        self.patches.wrap(csv, "writer", self._make_csv)
        for name, install in (
            ("torch.utils.tensorboard.writer", self._summary_writer),
            ("tensorboardX.writer", self._summary_writer),
            ("lightning.pytorch.trainer.call", self._lightning),
            ("pytorch_lightning.trainer.call", self._lightning),
            ("transformers.trainer", self._transformers),
            ("torchmetrics.metric", self._torchmetrics),
            ("monai.metrics", self._monai),
            ("mlflow", self._mlflow),
        ):
            imports.when(name, install)

    def _make_csv(self, original: Any) -> Any:
        return lambda *args, **kwargs: _Rows(original(*args, **kwargs), self.readings)

    def _summary_writer(self, module: ModuleType) -> None:
        def make(original: Any) -> Any:
            def add_scalar(writer: Any, tag: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
                self.readings.add(str(tag), value, "logged by SummaryWriter")
                return original(writer, tag, value, *args, **kwargs)

            return add_scalar

        self.patches.wrap(module.SummaryWriter, "add_scalar", make)

    def _lightning(self, module: ModuleType) -> None:
        def make(original: Any) -> Any:
            def call(trainer: Any, hook: str, *args: Any, **kwargs: Any) -> Any:
                result = original(trainer, hook, *args, **kwargs)
                if hook == "on_validation_end" and not trainer.sanity_checking:
                    for name, value in trainer.callback_metrics.items():
                        evaluating = not str(name).lower().startswith("train")
                        self.readings.add(str(name), value, "logged by Lightning", evaluating=evaluating)
                return result

            return call

        self.patches.wrap(module, compat.LIGHTNING_HOOKS, make)

    def _transformers(self, module: ModuleType) -> None:
        def make(original: Any) -> Any:
            def log(trainer: Any, logs: Any, *args: Any, **kwargs: Any) -> Any:
                self.readings.add_all(logs, "logged by the Trainer")
                return original(trainer, logs, *args, **kwargs)

            return log

        self.patches.wrap(module.Trainer, "log", make)

    def _mlflow(self, module: ModuleType) -> None:
        def make(original: Any) -> Any:
            def log_metric(key: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
                self.readings.add(str(key), value, "logged by MLflow")
                return original(key, value, *args, **kwargs)

            return log_metric

        self.patches.wrap(module, "log_metric", make)

    def _computed(self, metric: Any, value: Any) -> None:
        self.readings.add(
            type(metric).__name__,
            value,
            f"computed by {type(metric).__module__.split('.')[0]}",
            higher_is_better=getattr(metric, "higher_is_better", None),
            evaluating=self.evaluating(),
        )

    def _torchmetrics(self, module: ModuleType) -> None:
        def make(original: Any) -> Any:
            def wrap_compute(metric: Any, compute: Any) -> Any:
                wrapped = original(metric, compute)

                def computed(*args: Any, **kwargs: Any) -> Any:
                    value = wrapped(*args, **kwargs)
                    if not compat.is_batch_value(metric):
                        self._computed(metric, value)
                    return value

                return computed

            return wrap_compute

        self.patches.wrap(module.Metric, compat.METRIC_COMPUTE, make)

    def _monai(self, module: ModuleType) -> None:
        def make(original: Any) -> Any:
            def aggregate(metric: Any, *args: Any, **kwargs: Any) -> Any:
                value = original(metric, *args, **kwargs)
                self._computed(metric, value)
                return value

            return aggregate

        for kind in list(vars(module).values()):
            if isinstance(kind, type) and "aggregate" in vars(kind):
                self.patches.wrap(kind, "aggregate", make)
