"""Figures that the script prints or logs and whose names say between which values they lie: overlaps, areas, errors."""

from __future__ import annotations

import builtins
import logging
import os
import re
import threading
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from types import ModuleType
from typing import Any

from traindx.core.figure_ranges import Range, range_of
from traindx.core.frames import shown_path
from traindx.evidence.base import Record
from traindx.evidence.observed_figures import ReportedFigure
from traindx.finding import Location
from traindx.watch.interventions.lines import NUMBER, without_frame
from traindx.watch.interventions.readings import as_number
from traindx.watch.reading import readable
from traindx.watch.reading.figure_origin import Origin, origin_of
from traindx.watch.reading.program import Program
from traindx.watch.reading.shown_text import phrase_of
from traindx.watch.runtime.call_sites import CallSite, here, users
from traindx.watch.runtime.source_trees import own_sources
from traindx.watch.runtime.watch import Collector, Watch
from traindx.watch.runtime.wiring import Signal

MOST_VALUES = 64  # of one figure that are kept
MOST_FIGURES = 128
MOST_CHARACTERS = 1000  # of a piece of text that is read
_NUMBER = re.compile(rf"(?<![\w.@]){NUMBER}(?!\w)", re.IGNORECASE)
_DEVIATION = re.compile(rf"(?:±|\+/-|\+-)\s*{NUMBER}")
_UNIT = re.compile(r"\s*\)?\s*%")
_NO_VALUE = re.compile(r"\s*(?:[:=/]|of\b|out of\b|\|?\s*\()")  # "class 3: .8", "134 / 150", "134 of 150"


@dataclass
class _Figure:
    range: Range
    percent: bool = False
    values: list[float] = field(default_factory=list)


def figures_of(text: str) -> Iterator[tuple[str, float, bool, Range]]:
    """Name, value, whether a sign of percent follows, and the range, of every figure in a text that has one."""
    for line in text[:MOST_CHARACTERS].split("\n"):
        plain = _DEVIATION.sub(" ", without_frame(line))
        begin = 0
        for match in _NUMBER.finditer(plain):
            name, begin = phrase_of(plain[begin : match.start()]), match.end()
            known = range_of(name) if name else None
            unit = _UNIT.match(plain, match.end()) is not None
            if known is None or (not unit and _NO_VALUE.match(plain, match.end())):
                continue
            shown = match.group()
            stated = plain[: match.start()].rstrip().endswith((":", "=", "(", "["))
            if "." in shown or "e" in shown.lower() or (stated and not unit) or unit:
                yield name, float(shown.replace(",", "")), unit, known


class ReportedFigures(Collector):
    """Listens to ``print``, ``logging`` and ``SummaryWriter.add_scalar``; what is shown does not change.

    Attributes:
        on_text: Tells a text that is printed or logged, and the line that does it.
    """

    subject = "figures that are reported"

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch)
        self.on_text: Signal[[str, CallSite]] = Signal(watch)
        self._found: dict[tuple[CallSite, str], _Figure] = {}
        self._origins: dict[tuple[CallSite, str], Origin | None] = {}

    def install(self) -> None:
        """``print`` and ``logging``; writers when they are imported."""
        self.watch.patches.wrap(builtins, "print", self._make_print)
        self.watch.patches.wrap(logging.Logger, "callHandlers", self._make_handlers)

    def with_writer(self, module: ModuleType) -> None:
        """``torch.utils.tensorboard.writer`` or ``tensorboardX.writer``."""

        def make(original: Any) -> Any:
            def add_scalar(writer: Any, tag: Any, value: Any, *args: Any, **kwargs: Any) -> Any:
                if self._listens():
                    with suppress(Exception):
                        self._logged(str(tag), value, here(2))
                return original(writer, tag, value, *args, **kwargs)

            return add_scalar

        self.watch.patches.wrap(module.SummaryWriter, "add_scalar", make)

    def _listens(self) -> bool:
        watch = self.watch
        ours = watch.over or watch.busy or os.getpid() != watch.pid
        return not ours and threading.get_ident() == watch.thread

    def _make_print(self, original: Any) -> Any:
        def show(*values: Any, **kwargs: Any) -> None:
            original(*values, **kwargs)
            if self._listens() and any(isinstance(one, str) for one in values):
                with suppress(Exception):  # whatever it is, it is not the script's concern
                    plain = [one for one in values if isinstance(one, str | int | float)]
                    if len(plain) == len(values):
                        self.heard((kwargs.get("sep") or " ").join(map(str, values)), here(2))

        return show

    def _make_handlers(self, original: Any) -> Any:
        def call_handlers(logger: Any, record: logging.LogRecord) -> Any:
            if self._listens() and record.levelno >= logging.INFO and users(record.pathname):
                with suppress(Exception):
                    self.heard(record.getMessage(), CallSite(record.pathname, record.lineno, record.funcName or ""))
            return original(logger, record)

        return call_handlers

    def _logged(self, tag: str, value: Any, site: CallSite | None) -> None:
        tensor = isinstance(value, self.watch.torch.Tensor)
        number = None if tensor and value.device.type != "cpu" else as_number(value)
        known = range_of(tag)
        if number is not None and known is not None and site is not None:
            self._take(site, tag, number, False, known)

    def heard(self, text: str, site: CallSite | None) -> None:
        """Take in a text that a line shows."""
        if site is None:
            return
        self.on_text.tell(text, site)
        for name, value, percent, known in figures_of(text):
            self._take(site, name, value, percent, known)

    def _take(self, site: CallSite, name: str, value: float, percent: bool, known: Range) -> None:
        key = (site, name)
        if key not in self._found and len(self._found) >= MOST_FIGURES:
            return
        figure = self._found.setdefault(key, _Figure(known))
        figure.percent = figure.percent or percent
        if len(figure.values) < MOST_VALUES:
            figure.values.append(value)
        else:
            figure.values[-1] = value

    def records(self) -> Iterable[Record]:
        """One record a line and name."""
        program: Program | None = None
        for (site, name), figure in self._found.items():
            key = (site, name)
            if key not in self._origins and _leaves(figure):
                if program is None:
                    trees = own_sources()
                    program = Program(trees if readable(trees) else {})
                self._origins[key] = origin_of(program, site.file, site.line, name)
            origin = self._origins.get(key)
            yield record_of(site, name, figure.range, figure.percent, figure.values, origin)


def _leaves(figure: _Figure) -> bool:
    """Some value is outside: only then is it worth to look for where it comes from."""
    known = figure.range
    low = known.least is not None and min(figure.values) < known.least
    return low or (known.most is not None and max(figure.values) > known.most)


def record_of(
    site: CallSite, name: str, known: Range, percent: bool, values: list[float], origin: Origin | None
) -> ReportedFigure:
    """A figure as a record."""
    elsewhere = origin is not None and (origin.file, origin.line) != (site.file, site.line)
    return ReportedFigure(
        name=name,
        called=known.called,
        least=known.least,
        most=known.most,
        percent=known.percent and (percent or (origin is not None and origin.percent)),
        values=tuple(one for one in values if one == one),  # noqa: PLR0124  (not a number)
        traced=origin is not None,
        term=origin is not None and origin.term,
        computed=Location(file=shown_path(origin.file), line=origin.line, symbol=origin.symbol)
        if origin is not None and elsewhere
        else None,
        source=origin.source if origin is not None else "",
        where=site.location(),
    )
