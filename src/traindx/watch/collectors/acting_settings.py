"""Numbers that a configuration holds and nothing asks for, held against those that act under their names.

A loss that has a weight, a layer that has a rate: the object that acts keeps the number as an attribute. Where the
configuration gives another number under the same name, and no source asks the configuration for it, the setting never
arrives.
"""

from __future__ import annotations

import ast
import math
from collections.abc import Iterable, Iterator
from typing import Any

from traindx.core.frames import shown_path
from traindx.evidence.base import Record
from traindx.evidence.observed_state import ActingSetting
from traindx.finding import Location
from traindx.watch.collectors.config_use import name_of
from traindx.watch.collectors.configs import Configs, lines_of, names_in
from traindx.watch.collectors.configs import line_of as line_in
from traindx.watch.collectors.networks import Networks
from traindx.watch.runtime.call_sites import users
from traindx.watch.runtime.source_trees import source_files, trees_of
from traindx.watch.runtime.syntax import walk
from traindx.watch.runtime.watch import Collector, Watch

LEAST_SIBLINGS = 2  # other parameters that a mapping names, so that it is the one that goes to them


class ActingSettings(Collector):
    """Looks, when a summary is written, at attributes of modules of the script's own classes that were called."""

    subject = "numbers that act under the names of settings"

    def __init__(self, watch: Watch, configs: Configs, networks: Networks) -> None:
        super().__init__(watch)
        self.configs = configs
        self.networks = networks

    def install(self) -> None:
        """Subscribe to modules without parameters, which are losses as a rule."""
        self._losses: Any = self.watch.torch.utils.weak.WeakIdKeyDictionary()
        self.networks.on_enter(self, self._entered)

    def _entered(self, module: Any, _: Any) -> None:
        self._losses[module] = True

    def records(self) -> Iterable[Record]:
        """One record a setting."""
        found = list(self._otherwise())
        if not found:  # as in nearly all programs: the sources are not read for nothing
            return
        trees = trees_of(source_files())
        mentioned = names_in(trees.values(), of_attributes=False)
        for key, value, file, holder in found:
            name = key.rpartition(".")[2]
            if name in mentioned:
                continue
            kind, acting = type(holder), float(fields_of(holder)[name])
            lost = lost_at(trees, kind, name)
            made = self.networks.made.get(holder)
            yield ActingSetting(
                name=key,
                value=float(value),
                acting=acting,
                owner=kind.__name__,
                file=shown_path(file),
                line=line_in(key, lines_of(file)),
                where=lost or (made.location() if made is not None else None),
                step=self.watch.iteration,
            )

    def _otherwise(self) -> Iterator[tuple[str, float, str, Any]]:
        """Numbers that nothing asks for, and an object that holds another one, as all do that hold one of that name."""
        owners: list[Any] | None = None
        for key, value, file in self.configs.unread():
            if type(value) not in (int, float) or not math.isfinite(value):
                continue
            owners = self._owners() if owners is None else owners
            name = key.rpartition(".")[2]
            holders = [one for one in owners if type(fields_of(one).get(name)) in (int, float)]
            held = {float(fields_of(one)[name]) for one in holders}
            if len(held) == 1 and not math.isclose(held.pop(), value, rel_tol=1e-6, abs_tol=1e-12):
                yield key, value, file, holders[0]

    def _owners(self) -> list[Any]:
        """Modules of the script's own classes that were called."""
        modules = {id(one): one for one in (*self.networks.called, *self._losses)}
        return [one for one in modules.values() if users(source_of(type(one)))]


def source_of(kind: type) -> str:
    """The file that defines a class; empty where that is not known."""
    init = vars(kind).get("__init__") or vars(kind).get("forward")
    code = getattr(init, "__code__", None)
    return str(code.co_filename) if code is not None else ""


def fields_of(module: Any) -> dict[str, Any]:
    """What an object keeps, without running code of its class."""
    fields: dict[str, Any] = object.__getattribute__(module, "__dict__")
    return fields


def lost_at(trees: dict[str, ast.Module], kind: type, name: str) -> Location | None:
    """Where other parameters of a class are handed on and one is not: the only such mapping or call of the sources."""
    code = getattr(vars(kind).get("__init__"), "__code__", None)
    if code is None or name not in code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]:
        return None
    others = set(code.co_varnames[1 : code.co_argcount + code.co_kwonlyargcount]) - {name}
    found = [
        (file, line)
        for file, tree in trees.items()
        for node in walk(tree)
        if (line := _hands_on(node, kind.__name__, name, others)) > 0
    ]
    if len(found) != 1:
        return None
    return Location(file=shown_path(found[0][0]), line=found[0][1])


def _hands_on(node: ast.AST, kind: str, name: str, others: set[str]) -> int:
    """Line of the first of the other parameters that a mapping or a call of the class names; 0 where it is none."""
    if isinstance(node, ast.Dict):
        keys = [key for key in node.keys if isinstance(key, ast.Constant)]
        named = {key.value: key.lineno for key in keys if isinstance(key.value, str)}
        if any(key is None for key in node.keys):  # another mapping goes in as a whole
            return 0
    elif isinstance(node, ast.Call) and name_of(node.func) in (kind, "dict"):
        if any(one.arg is None for one in node.keywords):
            return 0
        named = {one.arg: one.value.lineno for one in node.keywords if one.arg is not None}
    else:
        return 0
    siblings = [line for one, line in named.items() if one in others]
    return min(siblings) if name not in named and len(siblings) >= LEAST_SIBLINGS else 0
