"""Figures that are the mean of the figures of batches: do they weigh a last batch that is smaller like the others?

Numbers that a script reads off tensors while it goes through a loader in evaluation are kept by line and batch. A
number that it prints afterwards is compared with their plain mean, and with their mean by the number of cases.
"""

from __future__ import annotations

import ast
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import lru_cache
from statistics import fmean, stdev
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.observed_figures import BatchMeansSeen
from traindx.watch.collectors.loaders import Loader, Loaders, tensors_in
from traindx.watch.collectors.reported_figures import MOST_CHARACTERS, ReportedFigures
from traindx.watch.collectors.torch_calls import TorchCalls
from traindx.watch.interventions.lines import NUMBER
from traindx.watch.runtime.call_sites import CallSite, stack
from traindx.watch.runtime.source_text import parsed
from traindx.watch.runtime.syntax import walk
from traindx.watch.runtime.watch import Collector, Watch

MOST_BATCHES = 512
MOST_LINES = 32  # that read numbers in one pass
LEAST_BATCHES = 5  # one that is smaller, and four to tell how far others differ
DIGITS = 3  # a number of fewer would fit by chance
_NUMBERS = re.compile(rf"(?<![\w.@]){NUMBER}(?!\w)", re.IGNORECASE)

Lines = tuple[CallSite, ...]


@dataclass
class _Pass:
    """The last pass over one loader in evaluation: sizes of the batches, and what was read of each, by line."""

    loader: Loader
    sizes: list[int] = field(default_factory=list)
    read: dict[Lines, list[tuple[int, float]]] = field(default_factory=dict)


@dataclass
class _Shown:
    """A number of one line that is a mean of what was read at another, over all times that it was shown."""

    lines: Lines
    site: CallSite
    batches: int = 0
    size: int = 0
    last: int = 0
    plain: list[float] = field(default_factory=list)
    weighted: list[float] = field(default_factory=list)
    unlike: list[float] = field(default_factory=list)
    as_plain: int = 0
    as_weighted: int = 0


class BatchMeans(Collector):
    """Keeps numbers that are read, batch by batch, and looks for their means in what is printed."""

    subject = "means over batches"

    def __init__(self, watch: Watch, calls: TorchCalls, loaders: Loaders, figures: ReportedFigures) -> None:
        super().__init__(watch)
        self.calls = calls
        self.loaders = loaders
        self.figures = figures
        self._passes: dict[int, _Pass] = {}
        self._current: _Pass | None = None
        self._reads: tuple[Any, ...] = ()
        self._found: dict[tuple[CallSite, Lines], _Shown] = {}

    def install(self) -> None:
        """Subscribe."""
        tensor = self.watch.torch.Tensor
        self._reads = (tensor.item, tensor.__float__)
        self.calls.on_any(self, self._called)
        self.loaders.on_read(self, self._batch)
        self.figures.on_text(self, self._text)

    def _batch(self, loader: Loader, batch: Any) -> None:
        if self.watch.grad_enabled or loader.trains:
            self._current = None
            return
        if loader.in_pass == 1:
            self._passes[id(loader)] = _Pass(loader)
        known = self._current = self._passes.get(id(loader))
        first = next((one for _, one in tensors_in(batch, self.watch.torch) if one.dim()), None)
        if known is not None and len(known.sizes) < MOST_BATCHES:
            known.sizes.append(int(first.shape[0]) if first is not None else 0)

    def _called(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        known = self._current
        if known is None or func not in self._reads or type(out) is not float or self.watch.in_backward:
            return
        lines = stack(2, 3)
        if lines and not self.watch.torch.is_grad_enabled() and (lines in known.read or len(known.read) < MOST_LINES):
            known.read.setdefault(lines, []).append((len(known.sizes), out))

    # -- what is printed -----------------------------------------------------------------------------------------

    def _text(self, text: str, site: CallSite) -> None:
        candidates = [
            (lines, known.sizes, [value for _, value in read])
            for known in self._passes.values()
            if _has_a_remainder(known)
            for lines, read in known.read.items()
            if [number for number, _ in read] == list(range(1, len(known.sizes) + 1))
        ]
        for match in _NUMBERS.finditer(text[:MOST_CHARACTERS]) if candidates else ():
            shown = match.group()
            for lines, sizes, values in candidates:
                if len(shown.strip("+-0.").replace(".", "")) >= DIGITS and all(map(math.isfinite, values)):
                    self._compare(shown, site, lines, sizes, values)

    def _compare(self, shown: str, site: CallSite, lines: Lines, sizes: list[int], values: list[float]) -> None:
        plain = fmean(values)
        weighted = fmean(values, weights=sizes)
        is_plain, is_weighted = shown_as(shown, plain), shown_as(shown, weighted)
        if not is_plain and not is_weighted:
            return
        seen = self._found.setdefault((site, lines), _Shown(lines, site))
        seen.batches, seen.size, seen.last = len(sizes), sizes[0], sizes[-1]
        seen.as_plain += is_plain
        seen.as_weighted += is_weighted
        if len(seen.plain) < MOST_BATCHES:
            seen.plain.append(plain)
            seen.weighted.append(weighted)
            chance = stdev(values[:-1]) * (sizes[0] / sizes[-1]) ** 0.5  # of so few cases, drawn like the others
            seen.unlike.append(abs(values[-1] - fmean(values[:-1])) / max(chance, 1e-12 * abs(weighted), 1e-300))

    def records(self) -> Iterable[Record]:
        """One record a number that is shown."""
        for seen in self._found.values():
            yield BatchMeansSeen(
                batches=seen.batches,
                size=seen.size,
                last=seen.last,
                as_plain=seen.as_plain,
                as_weighted=seen.as_weighted,
                plain=tuple(seen.plain),
                weighted=tuple(seen.weighted),
                unlike=tuple(seen.unlike),
                shown=seen.site.location(),
                where=_in_loop(seen.lines).location(),
                step=self.watch.iteration,
            )


def _has_a_remainder(known: _Pass) -> bool:
    """The pass is complete, and all its batches are full but the last one, as a loader makes them."""
    sizes, loader = known.sizes, known.loader
    if len(sizes) < LEAST_BATCHES or len(sizes) != loader.batches:
        return False
    return all(size == loader.batch_size for size in sizes[:-1]) and 0 < sizes[-1] < loader.batch_size


def shown_as(shown: str, value: float) -> bool:
    """True if a number, as it is written, is this value to the rounding of its last digit, or its share in percent."""
    plain = shown.replace(",", "")
    mantissa, _, exponent = plain.lower().partition("e")
    unit = 10.0 ** (int(exponent or 0) - len(mantissa.partition(".")[2]))
    number = float(plain)
    return any(abs(number - one) <= 0.501 * unit + 1e-6 * abs(one) for one in (value, 100 * value))


def _in_loop(lines: Lines) -> CallSite:
    """The innermost of these lines that lies in a loop: a meter's own line says little."""
    return next((one for one in lines if one.line in _looped(one.file)), lines[0])


@lru_cache(maxsize=64)
def _looped(file: str) -> frozenset[int]:
    tree = parsed(file)
    loops = [node for node in walk(tree) if isinstance(node, ast.For | ast.While)] if tree is not None else []
    return frozenset(line for one in loops for line in range(one.body[0].lineno, (one.end_lineno or one.lineno) + 1))
