"""The data sets of training and evaluation, in a forked child: their cases, tables of names, and preprocessing."""

from __future__ import annotations

import sys
import time
import weakref
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.observed_items import SameCaseTwice
from traindx.watch.collectors.loaders import Loader, Loaders
from traindx.watch.collectors.shared_items import divided_at
from traindx.watch.probes.base import Experiment
from traindx.watch.probes.case_lists import cases_in_both
from traindx.watch.probes.grey_levels import levels_compared
from traindx.watch.probes.making import Child
from traindx.watch.probes.name_tables import tables_apart
from traindx.watch.probes.own_figures import standardised_alone
from traindx.watch.probes.same_case import CASES, compared
from traindx.watch.runtime.structure import known_length
from traindx.watch.runtime.watch import Watch

MOST_PAIRS = 2
MOST_DATASETS = 8
CPU_LIMIT = 6  # seconds of a child, which is ended then
PATIENCE = 6.0


@dataclass
class _Read:
    loader: Loader
    dataset: weakref.ref[Any]
    backwards: int = 0
    trains: bool = False
    asked: bool = False
    unread: bool = False


@dataclass
class _Asked:
    child: Child
    training: _Read
    other: _Read


class Pipelines(Experiment):
    """Forks when a second data set is about to be read."""

    subject = "one case through both pipelines"

    def __init__(self, watch: Watch, loaders: Loaders) -> None:
        super().__init__(watch)
        self.loaders = loaders
        self._known: list[_Read] = []
        self._asked: list[_Asked] = []
        self._records: list[Record] = []

    def install(self) -> None:
        """Subscribe."""
        self.loaders.on_pass_begin(self, self._begins)
        self.loaders.on_read(self, self._read)
        self.watch.closing.append(self._end)

    def _read(self, loader: Loader, batch: Any) -> None:
        known = self._of(getattr(self.loaders.reading, "_dataset", None))
        if known is not None:
            if loader.in_pass > 1 and self.watch.backwards > known.backwards:
                known.trains = True  # it is read between backward passes, whoever is taken for the training's loader
            known.backwards = self.watch.backwards

    def _of(self, dataset: Any) -> _Read | None:
        return next((one for one in self._known if dataset is not None and one.dataset() is dataset), None)

    def _begins(self, loader: Loader, iterator: Any) -> None:
        dataset = getattr(iterator, "_dataset", None)
        wanted = self.watch.settings.extras.get("functions", True) and not sys.gettrace()
        if not wanted or not hasattr(type(dataset), "__getitem__"):
            return
        read = self._of(dataset)
        if read is None:
            try:
                read = _Read(loader, weakref.ref(dataset))
            except TypeError:
                return
            if len(self._known) < MOST_DATASETS:
                self._known.append(read)
        self._ask(read)

    def _ask(self, read: _Read) -> None:
        """Fork, where there is a data set that is trained on beside this one."""
        torch = self.watch.torch
        training = next((one for one in self._known if one.loader.trains or one.trains), None)
        base, dataset = training.dataset() if training is not None else None, read.dataset()
        if training is None or training is read or base is None or dataset is None or base is dataset:
            return
        if read.asked or len(self._asked) >= MOST_PAIRS:
            return
        read.asked = True
        if min(known_length(base) or 0, known_length(dataset) or 0) < CASES:
            return

        def look() -> list[Any] | None:
            self.watch.over = True
            found: list[Record] = []
            for ask in (cases_in_both, tables_apart, standardised_alone, compared, levels_compared):
                if ask is levels_compared and any(isinstance(one, SameCaseTwice) for one in found):
                    break
                with suppress(Exception):  # whatever a data set raises that is given something else
                    record = ask(torch, base, dataset)
                    found += [record] if record is not None else []
            return [[record.kind, record.model_dump(mode="json")] for record in found]

        child = Child.started(torch, look, apart=True, seconds=CPU_LIMIT)
        if child is None:
            self.watch.not_examined(self.subject, "the process cannot be forked without a trace")
        else:
            self._asked.append(_Asked(child, training, read))

    def _ask_of_what_is_not_read(self) -> None:
        """The watching ends before the first evaluation: its data set may be there already."""
        for loader, dataset in self.loaders.unread():
            if not hasattr(type(dataset), "__getitem__") or self._of(dataset) is not None:
                continue
            with suppress(TypeError):
                self._ask(_Read(loader, weakref.ref(dataset), unread=True))

    def records(self) -> Iterable[Record]:
        """What the children found, read when the watching ends."""
        if self.watch.ending:
            if not self._asked and self.watch.settings.extras.get("functions", True) and not sys.gettrace():
                self._ask_of_what_is_not_read()
            until = time.monotonic() + PATIENCE
            while self._asked:
                one = self._asked.pop(0)
                answer = one.child.answer(max(0.5, until - time.monotonic()))
                if one.other.trains or one.other.loader.trains:
                    continue
                made, training = one.other.loader.made, one.training.loader.made
                line = made.location() if made is not None else None
                divided = divided_at(made, training) if made is not None and training is not None else None
                for kind, fields in answer or ():
                    changes: dict[str, Any] = {"step": self.watch.iteration, "unread": one.other.unread}
                    changes |= {"where": line, "divided_at": divided} if kind == "SharedCases" else {"loader": line}
                    self._records.append(Record.kinds[kind](**{**fields, **changes}))
        yield from self._records

    def _end(self) -> None:
        """Whatever was not waited for."""
        while self._asked:
            self._asked.pop().child.answer(0.0)
