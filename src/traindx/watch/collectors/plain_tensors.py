"""Tensors with a gradient that lie in a module as plain attributes, where no optimiser looks for them."""

from __future__ import annotations

import weakref
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.observed_optim import PlainTensorSeen
from traindx.watch.collectors.networks import Networks
from traindx.watch.collectors.optimisers import Optimisers, numbers_of
from traindx.watch.probes.live_calls import assigned_in
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.schedule import ObservationLevel
from traindx.watch.runtime.stats import has_values
from traindx.watch.runtime.structure import named_modules
from traindx.watch.runtime.watch import Collector, Watch

DEEP = 8  # operations between a tensor and the leaf that it was computed from


@dataclass
class _Plain:
    """One attribute, as it was when it was first seen."""

    owner: str
    name: str
    tensor: Any  # its number; of what is computed a weak reference, as its number is given again once it is gone
    values: Any
    computed: bool
    made: CallSite | None
    looks: int = 0
    gradients: int = 0
    held: bool = False
    changed: bool = False
    first: int = 0
    last: int = 0

    def is_of(self, tensor: Any) -> bool:
        """True if this is the tensor that was seen first."""
        return self.tensor == id(tensor) if isinstance(self.tensor, int) else self.tensor() is tensor


class PlainTensors(Collector):
    """Looks at the attributes of the networks in iterations that are watched in full."""

    subject = "plain tensors with a gradient"

    def __init__(self, watch: Watch, networks: Networks, optimisers: Optimisers) -> None:
        super().__init__(watch)
        self.networks = networks
        self.optimisers = optimisers
        self._known: dict[tuple[int, str], _Plain] = {}
        self._modules = 0

    def end(self) -> None:
        """Look, while gradients are there or the step that used them has just been made."""
        if self.watch.level is not ObservationLevel.FULL:
            return
        held = self.optimisers.held()
        for root in list(self.networks.roots):
            for _, module in named_modules(root):
                self._modules += 1
                for name, tensor in self._tensors(module):
                    self._note(module, name, tensor, held)

    def _tensors(self, module: Any) -> Iterator[tuple[str, Any]]:
        torch = self.watch.torch
        for name, value in list(object.__getattribute__(module, "__dict__").items()):
            if isinstance(value, torch.Tensor) and value.requires_grad and has_values(value):
                yield name, value

    def _note(self, module: Any, name: str, tensor: Any, held: set[int]) -> None:
        if self.watch.would_wait(tensor):
            return
        leaves = [tensor] if tensor.is_leaf else list(_leaves(tensor.grad_fn))
        known = self._known.get((id(module), name))
        if known is None or not known.is_of(tensor):  # made anew in every pass: an activation that is kept
            made = assigned_in(type(module), name)
            number = id(tensor) if tensor.is_leaf else weakref.ref(tensor)
            known = self._known[id(module), name] = _Plain(
                type(module).__name__, name, number, numbers_of(tensor), not tensor.is_leaf, made,
                first=self.watch.iteration,
            )  # fmt: skip
        known.looks += 1
        known.last = self.watch.iteration
        known.held = known.held or any(id(leaf) in held for leaf in leaves)
        known.gradients += any(leaf.grad is not None and bool(leaf.grad.any()) for leaf in leaves)
        known.changed = known.changed or not bool((known.values == numbers_of(tensor)).all())

    def records(self) -> Iterable[Record]:
        """One record an attribute that stayed the same tensor, and one that says how many modules were looked at."""
        if self._modules:
            yield PlainTensorSeen(owner="", name="", modules=self._modules, step=self.watch.iteration)
        for known in self._known.values():
            yield PlainTensorSeen(
                owner=known.owner,
                name=known.name,
                modules=1,
                computed=known.computed,
                in_optimizer=known.held,
                gradients=known.gradients,
                iterations=known.last - known.first,
                changed=known.changed,
                where=known.made.location() if known.made is not None else None,
                step=self.watch.iteration,
            )


def _leaves(node: Any, depth: int = 0) -> Iterator[Any]:
    """Tensors that a graph begins with."""
    if node is None or depth > DEEP:
        return
    variable = getattr(node, "variable", None)
    if variable is not None:
        yield variable
    for after, _ in getattr(node, "next_functions", ()):
        yield from _leaves(after, depth + 1)
