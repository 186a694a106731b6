"""Scores of libraries that depend on the order of the predictions: are they given anything that has an order?"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.observed_evaluation import RankedScore
from traindx.watch.runtime.call_sites import CallSite, here
from traindx.watch.runtime.patching import Patches

MOST_DIFFERENT = 8  # values that are told apart
MOST_CALLS = 256  # at one line that are looked at
RANKING = ("AUROC", "AveragePrecision")  # in names of classes of torchmetrics


@dataclass
class _Line:
    function: str
    whole: bool = True
    calls: int = 0
    samples: int = 0
    values: set[float] = field(default_factory=set)
    labels: set[float] = field(default_factory=set)


class RankedScores:
    """Wraps what torchmetrics and scikit-learn compute areas under curves with, and looks at what they are given."""

    def __init__(self) -> None:
        self.patches = Patches()
        self.active = True
        self.muted: Callable[[], bool] = lambda: False  # our own code runs
        self._seen: dict[tuple[CallSite, str], _Line] = {}

    def install_classes(self, module: ModuleType) -> None:
        """``torchmetrics.classification.precision_recall_curve``: what gathers predictions for all of these."""
        for kind in ("Binary", "Multiclass", "Multilabel"):
            owner = getattr(module, f"{kind}PrecisionRecallCurve", None)
            if owner is not None:
                self.patches.wrap(owner, "update", self._make(method=True, first="preds", second="target"))

    def install_functions(self, module: ModuleType) -> None:
        """``torchmetrics.functional.classification.auroc`` and ``average_precision``."""
        for kind in ("binary", "multiclass", "multilabel"):
            for name in ("auroc", "average_precision"):
                self.patches.wrap(module, f"{kind}_{name}", self._make(first="preds", second="target"))

    def install_sklearn(self, module: ModuleType) -> None:
        """``sklearn.metrics._ranking``."""
        for name in ("roc_auc_score", "average_precision_score", "roc_curve", "precision_recall_curve"):
            self.patches.wrap(module, name, self._make(first="y_score", second="y_true", labels_first=True))

    def _make(
        self, *, first: str, second: str, method: bool = False, labels_first: bool = False
    ) -> Callable[[Any], Any]:
        """A wrapper; ``first`` names the predictions, ``second`` the labels."""

        def make(original: Any) -> Any:
            def score(*args: Any, **kwargs: Any) -> Any:
                if self.active and not self.muted():
                    with suppress(Exception):  # whatever it is, it is not the script's concern
                        name = type(args[0]).__name__ if method else original.__name__
                        given = args[1:] if method else args
                        places = (1, 0) if labels_first else (0, 1)
                        predictions, labels = (
                            given[place] if len(given) > place else kwargs.get(key)
                            for place, key in zip(places, (first, second), strict=True)
                        )
                        if not method or any(word in name for word in RANKING):
                            self.look(name, predictions, labels, here(2))
                return original(*args, **kwargs)

            return score

        return make

    def look(self, name: str, predictions: Any, labels: Any, site: CallSite | None) -> None:
        """Which values they have."""
        if site is None or predictions is None or labels is None:
            return
        line = self._seen.setdefault((site, name), _Line(name))
        line.calls += 1
        if line.calls > MOST_CALLS:
            return
        given, wanted = _numbers(predictions), _numbers(labels)
        if given is None or wanted is None:
            return
        line.samples += len(given)
        line.whole = line.whole and given.dtype.kind in "biu"
        if len(line.values) <= MOST_DIFFERENT:
            line.values.update(float(one) for one in _different(given))
        if len(line.labels) <= MOST_DIFFERENT:
            line.labels.update(float(one) for one in _different(wanted))

    def stop(self) -> None:
        """The watching is over; a wrapper that somebody holds passes everything through."""
        self.active = False

    def records(self) -> Iterable[Record]:
        """One record a line."""
        for (site, name), line in self._seen.items():
            yield RankedScore(
                function=name,
                calls=line.calls,
                samples=line.samples,
                values=tuple(sorted(line.values)) if len(line.values) <= MOST_DIFFERENT else (),
                labels=len(line.labels),
                whole=line.whole and line.samples > 0,
                where=site.location(),
            )


def _numbers(value: Any) -> Any:
    """An array of numpy; None for what is on a device, for which the script would have to wait."""
    numpy = sys.modules.get("numpy")
    if hasattr(value, "detach"):
        return value.detach().numpy() if value.device.type == "cpu" else None
    return numpy.asarray(value) if numpy is not None else None


def _different(array: Any) -> Any:
    """Different values of a regular sample."""
    numpy = sys.modules["numpy"]
    flat = array.reshape(-1)
    return numpy.unique(flat[:: max(1, flat.size // 4096)])[: MOST_DIFFERENT + 1]
