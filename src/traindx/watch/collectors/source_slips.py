"""Slips of the pen: names that stand for each other's thing, copies not adapted in one place, values nobody uses."""

from __future__ import annotations

from collections.abc import Iterable

from traindx.core.frames import shown_path
from traindx.evidence.base import Record
from traindx.evidence.observed_sources import SourceSlip, SourcesRead
from traindx.finding import Location
from traindx.watch.reading import lines_of, readable, slips_in
from traindx.watch.reading.program import Slip
from traindx.watch.runtime.source_trees import own_sources
from traindx.watch.runtime.watch import Collector, Watch


class SourceSlips(Collector):
    """Reads the sources once when a summary is written; costs nothing in between."""

    subject = "slips of the pen"

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch)
        self._known: tuple[frozenset[str], list[Record]] | None = None

    def records(self) -> Iterable[Record]:
        """What was read, and every slip in it."""
        trees = own_sources()
        if self._known is None or self._known[0] != frozenset(trees):
            found: list[Record] = []
            if trees and readable(trees):
                found = [SourcesRead(files=len(trees), lines=lines_of(trees)), *map(record_of, slips_in(trees))]
            self._known = frozenset(trees), found
        yield from self._known[1]


def record_of(slip: Slip) -> SourceSlip:
    """A slip as a record: its file as reports show it."""
    file = shown_path(slip.file)
    return SourceSlip(
        form=slip.form,
        source=slip.source,
        detail=slip.detail,
        other=Location(file=file, line=slip.other) if slip.other else None,
        was=slip.was,
        better=slip.better,
        where=Location(file=file, line=slip.line, symbol=slip.symbol),
    )
