"""The random numbers that worker processes begin with, and whether items are drawn with them: tried in child processes.

A child does what torch does when it starts a worker, calls the script's ``worker_init_fn``, and makes some items: once
as the first worker, once as the second, and as the first one again when the next pass begins, with that pass's base
seed. Of every generator within reach the states before and after are compared. One whose state after the items does
not depend on the state before is seeded for every item, and is nothing to compare. Without such a function, and
without a generator that the data set or a module of the script holds, nothing is tried: torch has seeded the others.
"""

from __future__ import annotations

import hashlib
import random
import sys
import time
import weakref
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from traindx.core import compat
from traindx.core.frames import defined_at, shown_path
from traindx.evidence.base import Record
from traindx.evidence.observed_items import WorkersBegun
from traindx.finding import Location
from traindx.watch.collectors.loaders import Loader, Loaders
from traindx.watch.collectors.worker_generators import drawn_at
from traindx.watch.probes.base import Experiment
from traindx.watch.probes.making import Child
from traindx.watch.runtime.call_sites import users
from traindx.watch.runtime.generators import is_generator
from traindx.watch.runtime.structure import known_length
from traindx.watch.runtime.watch import Watch

MOST_LOADERS = 2
PASSES = 2
ITEMS = 3
DEEP = 4
MOST_OBJECTS = 400
MOST_MEMBERS = 64  # of a list or a dictionary that are looked into
CPU_LIMIT = 4  # seconds of a child, which is ended then
PATIENCE = 4.0  # seconds of wall time at the end of the watching


@dataclass
class _Tried:
    loader: Loader
    dataset: str
    prepares: str
    defined: Location | None
    persistent: bool
    children: dict[tuple[int, int], Child] = field(default_factory=dict)  # by pass and worker


class PreparedWorkers(Experiment):
    """Forks when the first and the second pass of a loader with workers begin."""

    subject = "random numbers of workers"

    def __init__(self, watch: Watch, loaders: Loaders) -> None:
        super().__init__(watch)
        self.loaders = loaders
        self._tried: dict[int, _Tried] = {}
        self._objects: dict[int, weakref.ref[Any]] = {}
        self._records: list[Record] = []

    def install(self) -> None:
        """Subscribe."""
        self.loaders.on_made(self, self._made)
        self.loaders.on_pass_begin(self, self._begins)
        self.watch.closing.append(self._end)

    def _made(self, loader: Loader, made: Any) -> None:
        if loader.workers:
            self._objects[id(loader)] = weakref.ref(made)

    def _handed(self, loader: Loader, iterator: Any) -> tuple[Any, Any, bool]:
        """Data set, ``worker_init_fn``, and whether the workers live on; an iterator that begins has not all yet."""
        dataset, _, persistent = compat.workers_read(iterator)
        made = self._objects[id(loader)]()
        return dataset, getattr(made, "worker_init_fn", None), persistent

    def _begins(self, loader: Loader, iterator: Any) -> None:
        wanted = self.watch.settings.extras.get("functions", True) and not sys.gettrace()
        if id(loader) not in self._objects or not wanted or not 1 <= loader.passes <= PASSES:
            return
        dataset, prepares, persistent = self._handed(loader, iterator)
        if not _is_function(prepares) and not any(True for _ in held_within(self.watch.torch, dataset)):
            return
        tried = self._tried.get(id(loader))
        if tried is None:
            if len(self._tried) >= MOST_LOADERS or loader.passes > 1:
                return
            name = str(getattr(prepares, "__qualname__", "worker_init_fn")) if prepares is not None else ""
            place = defined_at(prepares) if _is_function(prepares) else None
            tried = _Tried(loader, type(dataset).__name__, name, place, persistent)
            self._tried[id(loader)] = tried
        for worker in range(min(2, loader.workers)) if loader.passes == 1 else (0,):
            self._start(tried, iterator, (loader.passes, worker))

    def _start(self, tried: _Tried, iterator: Any, which: tuple[int, int]) -> None:
        torch = self.watch.torch
        dataset, prepares, _ = self._handed(tried.loader, iterator)
        workers = tried.loader.workers

        def look() -> list[Any]:
            self.watch.over = True
            compat.begin_as_worker(torch, iterator, which[1], workers)
            return states_of(torch, dataset, prepares, which[1])

        child = Child.started(torch, look, apart=True, seconds=CPU_LIMIT)
        if child is None:
            self.watch.not_examined(self.subject, "the process cannot be forked without a trace")
        else:
            tried.children[which] = child

    def records(self) -> Iterable[Record]:
        """One record a loader whose workers could be tried."""
        if self.watch.ending:
            until = time.monotonic() + PATIENCE
            for tried in self._tried.values():
                answers = {}
                while tried.children:
                    which, child = tried.children.popitem()
                    answer = child.answer(max(0.2, until - time.monotonic()))
                    if answer is not None:
                        answers[which] = {name: (before, *rest) for name, before, *rest in answer}
                if (1, 0) in answers and len(answers) > 1:
                    self._records.append(self._record(tried, answers))
        yield from self._records

    def _record(self, tried: _Tried, answers: dict[tuple[int, int], dict[str, Any]]) -> Record:
        first = answers[1, 0]
        alike = same_draws(first, answers.get((1, 1), {}))
        again = same_draws(first, answers.get((2, 0), {})) if not tried.persistent else []
        line = next((first[name][3] for name in (*alike, *again) if first[name][3]), None)
        where = Location(file=line[0], line=line[1], symbol=line[2]) if line else tried.defined
        made = tried.loader.made
        return WorkersBegun(
            loader=made.location() if made is not None else None,
            dataset=tried.dataset,
            prepares=tried.prepares,
            workers=tried.loader.workers,
            passes=tried.loader.passes,
            alike=tuple(alike),
            again=tuple(again),
            trains=tried.loader.trains,
            where=where,
            step=self.watch.iteration,
        )

    def _end(self) -> None:
        """Whatever was not waited for."""
        for tried in self._tried.values():
            while tried.children:
                tried.children.popitem()[1].answer(0.0)


def same_draws(one: dict[str, Any], other: dict[str, Any]) -> list[str]:
    """Generators that two workers draw from, in one state before the items and in one after them."""
    return [
        name
        for name, (before, after, carried, _) in one.items()
        if carried and before != after and name in other and list(other[name][:2]) == [before, after]
    ]


# -- in the child ------------------------------------------------------------------------------------------------------


def states_of(torch: Any, dataset: Any, prepares: Any, worker: int) -> list[Any]:
    """Prepare a worker and make items. In a child only: it changes what the data set keeps.

    Returns:
        For every generator its name, digests of its state before and after the items, whether the second depends on
        the first, and where it was set in ``prepares``, or is drawn from.
    """
    lines = _Lines(torch, dataset, getattr(prepares, "__code__", None))
    if prepares is not None:
        sys.settrace(lines)
        try:
            prepares(worker)
        finally:
            sys.settrace(None)
        lines.look()
    held = dict(generators_within(torch, dataset))
    before = {name: state_of(one) for name, one in held.items()}
    if not _items(dataset):
        return []
    after = {name: state_of(one) for name, one in generators_within(torch, dataset)}
    for one in dict(generators_within(torch, dataset)).values():
        _move_on(torch, one)
    _items(dataset)
    again = {name: state_of(one) for name, one in generators_within(torch, dataset)}
    return [
        [
            name,
            before[name],
            after[name],
            after[name] != again.get(name),
            lines.set_at.get(name) or (_drawn(dataset, name) if prepares is None else None),
        ]
        for name in before
        if name in after
    ]


def _drawn(dataset: Any, name: str) -> tuple[str, int, str] | None:
    """Where a generator of a module, or of the data set itself, is drawn from."""
    place = drawn_at(type(dataset), name.rpartition(".")[2]) if name.count(".") <= 1 else None
    return (place.file, place.line or 0, place.symbol or "") if place is not None else None


def _is_function(prepares: Any) -> bool:
    """One of the script's own; an object that is called, or a library's function, says nothing of a line."""
    return users(getattr(getattr(prepares, "__code__", None), "co_filename", ""))


def _items(dataset: Any) -> int:
    made = 0
    with suppress(Exception):  # whatever a data set raises
        length = known_length(dataset) if hasattr(type(dataset), "__getitem__") else None
        if length:
            for index in sorted({0, length // 2, length - 1}):
                dataset[index]
                made += 1
        else:
            made = sum(1 for _ in islice(iter(dataset), ITEMS))
    return made


class _Lines:
    """A trace function that notes after which line of one function the state of a generator changed last."""

    def __init__(self, torch: Any, dataset: Any, code: Any) -> None:
        self.torch, self.dataset, self.code = torch, dataset, code
        self.set_at: dict[str, tuple[str, int, str]] = {}
        self._line = 0
        self._states = self._now()

    def _now(self) -> dict[str, tuple[int, str]]:
        """Another generator in the same state counts as well."""
        return {name: (id(one), state_of(one)) for name, one in generators_within(self.torch, self.dataset)}

    def look(self) -> None:
        """What has changed since the last look was changed by the line that was begun then."""
        states = self._now()
        for name, state in states.items():
            if self._states.get(name) != state and self._line:
                self.set_at[name] = (shown_path(self.code.co_filename), self._line, self.code.co_qualname)
        self._states = states

    def __call__(self, frame: Any, event: str, arg: Any) -> Any:
        if frame.f_code is not self.code:
            return None
        if event == "line":
            self.look()
            self._line = frame.f_lineno
        return self


def generators_within(torch: Any, dataset: Any) -> Iterator[tuple[str, Any]]:
    """The generators that everybody uses, and those that a data set or a module of the script holds, by name."""
    numpy = sys.modules.get("numpy")
    yield "random", random._inst
    yield "torch", torch.default_generator
    if numpy is not None:
        yield "numpy.random", numpy.random.mtrand._rand
    yield from held_within(torch, dataset)


def held_within(torch: Any, dataset: Any) -> Iterator[tuple[str, Any]]:
    """Generators that a data set holds, and variables of the script's modules or attributes of classes that are one."""
    for module in list(sys.modules.values()):
        if users(getattr(module, "__file__", None) or ""):
            yield from ((name, one) for name, one in list(vars(module).items()) if is_generator(one))
    waiting: list[tuple[str, Any, int]] = [("self", dataset, 0)]
    known: set[int] = set()
    while waiting and len(known) < MOST_OBJECTS:
        path, value, depth = waiting.pop(0)
        if id(value) in known or depth > DEEP or value is None or isinstance(value, str | int | float | type):
            continue
        known.add(id(value))
        if isinstance(value, random.SystemRandom):
            continue
        if is_generator(value):
            yield path, value
        elif type(value) in (list, tuple):
            waiting += [(f"{path}[{at}]", one, depth + 1) for at, one in enumerate(value[:MOST_MEMBERS])]
        elif type(value) is dict:
            waiting += [(f"{path}[{key!r}]", one, depth + 1) for key, one in list(value.items())[:MOST_MEMBERS]]
        elif not isinstance(value, torch.Tensor | torch.nn.Module):
            with suppress(AttributeError):
                fields = object.__getattribute__(value, "__dict__")
                waiting += [(f"{path}.{name}", one, depth + 1) for name, one in list(fields.items())]
            of_class = vars(type(value)) if users(_file_of(type(value))) else {}
            waiting += [(f"{path}.{name}", one, depth + 1) for name, one in of_class.items() if is_generator(one)]


def _file_of(kind: type) -> str:
    return getattr(sys.modules.get(kind.__module__), "__file__", None) or ""


def state_of(generator: Any) -> str:
    """A digest of a generator's state."""
    if isinstance(generator, random.Random):
        state: Any = generator.getstate()
    elif hasattr(generator, "bit_generator"):
        state = _plain(generator.bit_generator.state)
    elif hasattr(generator, "get_state") and hasattr(generator, "manual_seed"):
        state = generator.get_state().numpy().tobytes()
    else:
        state = _plain(generator.get_state(legacy=False))
    return hashlib.blake2b(repr(state).encode(), digest_size=12).hexdigest()


def _plain(value: Any) -> Any:
    """A state without arrays, whose text is cut where they are long."""
    if isinstance(value, dict):
        return [(key, _plain(one)) for key, one in value.items()]
    return value.tolist() if hasattr(value, "tolist") else value


def _move_on(torch: Any, generator: Any) -> None:
    for _ in range(3):
        if hasattr(generator, "manual_seed"):
            torch.rand(7, generator=generator, device=generator.device)
        else:
            generator.random()
