"""Generators of random numbers that a data set keeps and draws its items with, where every worker gets a copy."""

from __future__ import annotations

import dis
import inspect
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from types import CodeType, FunctionType
from typing import Any

from traindx.core import compat
from traindx.core.frames import defined_at
from traindx.evidence.observed_items import WorkerGenerator
from traindx.finding import Location
from traindx.watch.collectors.loaders import Loader, Loaders
from traindx.watch.runtime.call_sites import CallSite, users
from traindx.watch.runtime.generators import is_generator
from traindx.watch.runtime.structure import members
from traindx.watch.runtime.watch import Collector, Watch

RESEEDS = frozenset(  # what code asks that gives every worker, or every item, numbers of its own
    ("seed", "manual_seed", "set_state", "setstate", "initial_seed", "get_worker_info", "spawn", "jumped", "advance")
)
MAKES_ITEMS = ("__getitem__", "__getitems__", "__iter__", "__call__")
DEEP = 4


@dataclass(frozen=True)
class _Held:
    """A generator that is drawn from."""

    name: str
    type: str
    where: Location | None
    renewed: bool


class WorkerGenerators(Collector):
    """Looks at a data set once, when its loader begins to be read; nothing of it is called or kept."""

    subject = "generators of data sets"

    def __init__(self, watch: Watch, loaders: Loaders) -> None:
        super().__init__(watch)
        self.loaders = loaders
        self._held: dict[int, tuple[Loader, bool, bool, list[_Held]]] = {}

    def install(self) -> None:
        """Subscribe to batches."""
        self.loaders.on_read(self, self._read)

    def _read(self, loader: Loader, batch: Any) -> None:
        if not loader.workers or id(loader) in self._held:
            return
        dataset, prepares, persistent = compat.workers_read(self.loaders.reading)
        self._held[id(loader)] = loader, persistent, prepares is not None, list(generators(dataset))

    def records(self) -> Iterable[WorkerGenerator]:
        """One record a generator."""
        for loader, persistent, prepared, held in self._held.values():
            for one in held:
                yield WorkerGenerator(
                    where=one.where,
                    loader=loader.made.location() if loader.made is not None else None,
                    dataset=loader.dataset,
                    name=one.name,
                    type=one.type,
                    workers=loader.workers,
                    passes=loader.passes,
                    persistent=persistent,
                    renewed=prepared or one.renewed,
                    trains=loader.trains,
                    step=self.watch.iteration,
                )


def generators(owner: Any, path: str = "self", depth: int = 0) -> Iterator[_Held]:
    """Generators that the script's own classes keep and draw from when an item is made; transforms are looked into."""
    fields = getattr(owner, "__dict__", None)
    if depth > DEEP or not isinstance(fields, dict):
        return
    library = type(owner).__module__.partition(".")[0] in ("torch", "torchvision")
    code = _makes_items(type(owner))
    if not library and (code is None or not users(code.co_filename)):
        return
    asked = frozenset() if code is None or library else _asked(type(owner), code)
    reseeds = not asked.isdisjoint(RESEEDS)
    for name, value in list(fields.items()):
        for number, part in enumerate(members(value) if isinstance(value, list | tuple) else [value]):
            if is_generator(part):
                if name in asked and code is not None:
                    kind = f"{type(part).__module__}.{type(part).__name__}"
                    renewed = reseeds or _makes(type(owner), code, name)
                    yield _Held(f"{path}.{name}", kind, drawn_at(type(owner), name), renewed)
            elif name in asked or library:
                inner = f"{path}.{name}" + (f"[{number}]" if isinstance(value, list | tuple) else "")
                yield from generators(part, inner, depth + 1)


def _function(kind: type, name: str) -> FunctionType | None:
    found = inspect.getattr_static(kind, name, None)
    found = inspect.unwrap(found) if callable(found) else found
    return found if isinstance(found, FunctionType) else None


def _makes_items(kind: type) -> CodeType | None:
    functions = (_function(kind, name) for name in MAKES_ITEMS)
    return next((function.__code__ for function in functions if function is not None), None)


def drawn_at(kind: type, name: str) -> Location | None:
    """The first line in the making of items that asks for an attribute or a variable; else where they are made."""
    code = _makes_items(kind)
    for one in _codes(kind, code) if code is not None else ():
        for step in dis.get_instructions(one):
            line = step.positions.lineno if step.positions is not None else None
            if step.argval == name and step.opname.startswith("LOAD_") and line:
                return CallSite(one.co_filename, line, one.co_qualname).location()
    functions = (_function(kind, each) for each in MAKES_ITEMS)
    return next((defined_at(function) for function in functions if function is not None), None)


def _codes(kind: type, code: CodeType, seen: set[CodeType] | None = None) -> Iterator[CodeType]:
    """A function's code, what is defined in it, and the methods of its class that it names."""
    seen = set() if seen is None else seen
    if code in seen:
        return
    seen.add(code)
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from _codes(kind, constant, seen)
    for name in code.co_names:
        method = _function(kind, name)
        if method is not None and users(method.__code__.co_filename):
            yield from _codes(kind, method.__code__, seen)


def _asked(kind: type, code: CodeType) -> frozenset[str]:
    """All names that making an item asks for."""
    return frozenset(name for one in _codes(kind, code) for name in one.co_names)


def _makes(kind: type, code: CodeType, name: str) -> bool:
    """True if making an item also sets the attribute: every worker then makes a generator of its own."""
    return any(
        step.opname == "STORE_ATTR" and step.argval == name
        for one in _codes(kind, code)
        for step in dis.get_instructions(one)
    )
