"""Every figure that a script reports of itself: printed, logged, or computed by a metric object."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from traindx.core.metric_names import split_of
from traindx.watch.interventions.blocks import BlockReader

MOST_READINGS = 2000  # of one figure
MOST_FIGURES = 400


@dataclass
class Figure:
    """One figure over the run.

    Attributes:
        name: As the script calls it.
        source: ``printed``, ``logged by ...`` or the class of a metric.
        iterations: Optimiser iterations at which it was read.
        values: What was read.
        higher_is_better: As the metric object says, or None.
        evaluating: Every reading came after a network was called as in validation, and before it was trained on; None
            where that is not known.
        split: ``validation``, ``test`` or ``training``, as the script says; empty where it does not.
    """

    name: str
    source: str
    iterations: list[int] = field(default_factory=list)
    values: list[float] = field(default_factory=list)
    higher_is_better: bool | None = None
    evaluating: bool | None = None
    split: str = ""


class Readings:
    """Collects figures by name and source."""

    def __init__(self) -> None:
        self.figures: dict[tuple[str, str], Figure] = {}
        self.iteration = 0
        self._line = ""
        self._blocks = BlockReader()
        self._before: tuple[int, bool | None] = (0, None)

    def add(
        self,
        name: str,
        value: Any,
        source: str,
        *,
        higher_is_better: bool | None = None,
        evaluating: bool | None = None,
        split: str | None = None,
    ) -> None:
        """Take in a reading; anything that is not one number is left out. Without a split, the name says it."""
        number = as_number(value)
        if number is None or not name:
            return
        key = (name, source)
        if key not in self.figures and len(self.figures) >= MOST_FIGURES:
            return
        of = split_of(name) if split is None else split
        figure = self.figures.setdefault(key, Figure(name, source, [], [], higher_is_better, evaluating, of))
        if figure.evaluating and evaluating is False and self.iteration:
            figure.evaluating = False
        if figure.evaluating is False and evaluating and not figure.iterations[-1]:
            figure.evaluating = True  # what was said before the first iteration is the configuration's
        if len(figure.values) < MOST_READINGS:
            figure.iterations.append(self.iteration)
            figure.values.append(number)
        else:  # the last one is what counts
            figure.iterations[-1], figure.values[-1] = self.iteration, number

    def add_all(self, values: Any, source: str, prefix: str = "") -> None:
        """Take in a mapping of figures."""
        for name, value in dict(values).items():
            self.add(f"{prefix}{name}", value, source)

    def text(self, text: str, source: str = "printed", *, evaluating: bool | None = None) -> None:
        """Take in a piece of printed text; figures are read line by line, of a line that is drawn anew the last."""
        self._line += text
        if len(self._line) > 20_000:
            self._line = self._line[-20_000:]
        if "\n" not in self._line:
            return
        *lines, self._line = self._line.split("\n")
        if (self.iteration, evaluating) != self._before:
            self._blocks.turn()
            self._before = (self.iteration, evaluating)
        for line in lines:
            drawn = [part for part in line.split("\r") if part.strip()]
            for one in self._blocks.read(drawn[-1] if drawn else ""):
                self.add(one.name, one.value, source, evaluating=evaluating, split=one.split)

    def flush(self) -> None:
        """A last line without an end."""
        self.text("\n")

    def dump(self) -> list[dict[str, Any]]:
        """As JSON."""
        return [vars(figure) for figure in self.figures.values()]


def as_number(value: Any) -> float | None:  # noqa: PLR0911  (one return a kind of value)
    """A number, a tensor or array of one element, or the first of a tuple of such; the mean over a few classes."""
    if isinstance(value, bool) or value is None or isinstance(value, str):
        return None
    if isinstance(value, int | float):
        return float(value)
    if isinstance(value, tuple | list):
        return as_number(value[0]) if value else None
    compute = getattr(value, "detach", None)
    try:
        array = compute() if compute is not None else value
        count = int(array.numel()) if hasattr(array, "numel") else int(getattr(array, "size", 0))
        if count == 1:
            return float(array.item())
        if 1 < count <= 64:
            numbers = [float(item) for item in array.reshape(-1).tolist()]
            finite = [item for item in numbers if not math.isnan(item)]
            return sum(finite) / len(finite) if finite else float("nan")
    except (TypeError, ValueError, RuntimeError, AttributeError):
        return None
    return None


def figures_in(line: str) -> list[tuple[str, float]]:
    """``epoch 3: loss 0.41 val acc=0.71`` gives epoch 3, loss 0.41 and val acc 0.71."""
    return [(one.name, one.value) for one in BlockReader().read(line)]
