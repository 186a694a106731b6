"""Tensors that a loss keeps: class weights that its own call replaces."""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.observed_calls import LossStateSeen
from traindx.watch.collectors.networks import Networks
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.source_text import parsed
from traindx.watch.runtime.syntax import walk
from traindx.watch.runtime.watch import Collector, Watch

Shape = tuple[int, ...]
MOST_CALLS = 64


@dataclass
class _State:
    loss: str
    attribute: str
    rewritten_at: CallSite | None
    made: CallSite | None
    first: Shape
    last: Shape
    calls: int = 0
    rewritten: int = 0
    as_batch: int = 0


class LossStates(Collector):
    """Modules without parameters that are called outside networks: what tensors they hold before and after a call."""

    subject = "tensors that losses keep"

    def __init__(self, watch: Watch, networks: Networks) -> None:
        super().__init__(watch)
        self.networks = networks
        self._known: Any = watch.torch.utils.weak.WeakIdKeyDictionary()
        self._states: list[_State] = []
        self._before: tuple[int, dict[str, tuple[int, int, Shape]]] | None = None

    def install(self) -> None:
        """Subscribe."""
        self.networks.on_enter(self, self._entered)
        self.networks.on_module(self, self._left)

    def _entered(self, module: Any, args: Any) -> None:
        self._before = None
        if not type(module).__module__.startswith("torch."):
            self._before = (id(module), {name: self._seen(value) for name, value in self._tensors(module)})

    def _left(self, module: Any, args: tuple[Any, ...], output: Any) -> None:
        if self._before is None or self._before[0] != id(module):
            return
        before, self._before = self._before[1], None
        batch = next((len(one) for one in args if isinstance(one, self.watch.torch.Tensor) and one.dim()), -1)
        after = {name: self._seen(value) for name, value in self._tensors(module)}
        states = self._known.setdefault(module, {})
        for name, (identity, version, shape) in before.items():
            if name not in after:
                continue
            entry = states.get(name)
            if entry is None:
                made = self.networks.made.get(module)
                line = assigned_in_call(type(module), name)
                entry = states[name] = _State(type(module).__name__, name, line, made, shape, shape)
                self._states.append(entry)
            if entry.calls >= MOST_CALLS:
                continue
            now = after[name]
            entry.calls += 1
            entry.rewritten += now[:2] != (identity, version)
            entry.as_batch += now[2] != entry.first and now[2][:1] == (batch,)
            entry.last = now[2]

    def _tensors(self, module: Any) -> Iterator[tuple[str, Any]]:
        for table in (vars(module), vars(module).get("_buffers") or {}):
            for name, value in table.items():
                if type(value) is self.watch.torch.Tensor and value.is_floating_point() and value.dim():
                    yield name, value

    def _seen(self, value: Any) -> tuple[int, int, Shape]:
        return id(value), int(value._version), tuple(value.shape)

    def records(self) -> Iterable[Record]:
        """A record a tensor."""
        for entry in self._states:
            yield LossStateSeen(
                where=self.watch.shown(entry.made),
                loss=entry.loss,
                attribute=entry.attribute,
                calls=entry.calls,
                first_shape=entry.first,
                last_shape=entry.last,
                rewritten=entry.rewritten,
                as_batch=entry.as_batch,
                rewritten_at=entry.rewritten_at.location() if entry.rewritten_at is not None else None,
                step=self.watch.iteration,
            )


def assigned_in_call(kind: type, attribute: str) -> CallSite | None:
    """The first line of a class, its constructor apart, that assigns ``self.attribute``; None without one."""
    file = getattr(sys.modules.get(kind.__module__), "__file__", None)
    tree = parsed(file) if file else None
    for owner in walk(tree) if tree is not None else ():
        if not isinstance(owner, ast.ClassDef) or owner.name != kind.__name__:
            continue
        for method in owner.body:
            if not isinstance(method, ast.FunctionDef) or method.name == "__init__":
                continue
            for node in walk(method):
                targets = node.targets if isinstance(node, ast.Assign) else [getattr(node, "target", None)]
                if any(isinstance(one, ast.Attribute) and one.attr == attribute for one in targets):
                    return CallSite(str(file), int(getattr(node, "lineno", 0)), f"{owner.name}.{method.name}")
    return None
