"""Outputs of a network in training, by their place in the order of operations: which of them does a step learn from?

What a loop computes for every batch and hands to ``backward`` only after its end is the last batch alone. Numbers of
autograd nodes are kept, which keep no graph alive; at a backward pass its graph is gone through for them. Calls count
where the loop makes a scalar of each, as losses are, on a line whose last one is passed back: an agent that is asked
for one action after the other, with gradients that nobody wants, has nothing of that kind.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from traindx.core import compat
from traindx.evidence.base import Record
from traindx.evidence.observed_optim import OutputsDropped
from traindx.watch.collectors.backwards import Backward, Backwards
from traindx.watch.collectors.loaders import tensors_in
from traindx.watch.collectors.networks import Call, CallPlace, Networks
from traindx.watch.collectors.nonfinite import MOST_NODES, graph_nodes
from traindx.watch.collectors.optimisers import Optimisers
from traindx.watch.collectors.torch_calls import TorchCalls, call_site
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.watch import Collector, Watch

LEAST_CALLS = 4  # of one line before a step, so that more than one of them is a loop
MOST_CALLS = 512
MOST_LOOKS = 6


@dataclass
class _Line:
    """Calls of one network from one line since the last step, each by the numbers of its outputs' nodes."""

    place: CallPlace
    open: list[frozenset[int]] = field(default_factory=list)
    used: set[int] = field(default_factory=set)
    reduced: bool = False
    backward: CallSite | None = None
    steps: int = 0
    calls: int = 0
    learned: int = 0
    last_alone: int = 0


class DroppedOutputs(Collector):
    """Counts, at steps that many calls of one line come before, those whose outputs a backward pass reached."""

    subject = "outputs that a step learns from"

    def __init__(
        self, watch: Watch, networks: Networks, calls: TorchCalls, backwards: Backwards, optimisers: Optimisers
    ) -> None:
        super().__init__(watch)
        self.networks = networks
        self.calls = calls
        self.backwards = backwards
        self.optimisers = optimisers
        self._lines: dict[tuple[Any, ...], _Line] = {}
        self._scalars: dict[CallSite | None, set[int]] = {}

    def install(self) -> None:
        """Subscribe."""
        self.networks.on_call(self, self._called)
        self.calls.on_scalars(self, self._scalar)
        self.backwards.on_backward(self, before=self._before)
        self.optimisers.on_step(self, self._stepped)

    def _called(self, call: Call) -> None:
        if not call.grad or not call.network.training:
            return
        line = self._lines.setdefault(call.place.key, _Line(call.place))
        if line.steps >= MOST_LOOKS or len(line.open) >= MOST_CALLS:
            return
        nodes = [compat.node_of(value) for _, value in tensors_in(call.output, self.watch.torch)]
        numbers = frozenset(compat.number(node) for node in nodes if node is not None)
        if numbers:
            line.open.append(numbers)

    def _scalar(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        node = compat.node_of(out)
        if node is not None:
            numbers = self._scalars.setdefault(call_site(), set())
            if len(numbers) < MOST_CALLS:
                numbers.add(compat.number(node))

    def _before(self, backward: Backward) -> None:
        lines = []
        for line in self._lines.values():
            if len(line.open) >= LEAST_CALLS:
                lines.append(line)
            else:  # taken for used: a graph is not gone through at every step for the few
                line.used.update(range(len(line.open)))
        root = compat.node_of(backward.root) if lines else None
        if root is None:
            return
        there = {compat.number(node) for node in graph_nodes(root)}
        for line in lines:
            known = {index for index, numbers in enumerate(line.open) if numbers & there}
            if len(there) + 2 > MOST_NODES:  # the rest of the graph was not gone through
                known = set(range(len(line.open)))
            line.used |= known
            line.backward = backward.site if known else line.backward
            line.reduced |= any(len(one) >= LEAST_CALLS and one & there for one in self._scalars.values())

    def _stepped(self, rate: float) -> None:
        for line in self._lines.values():
            if len(line.open) >= LEAST_CALLS and line.used and line.reduced:
                line.steps += 1
                line.calls += len(line.open)
                line.learned += len(line.used)
                line.last_alone += line.used == {len(line.open) - 1}
            line.open.clear()
            line.used.clear()
            line.reduced = False
        self._scalars.clear()

    def records(self) -> Iterable[Record]:
        """One record a line whose calls came in numbers."""
        for line in self._lines.values():
            if line.steps:
                yield OutputsDropped(
                    network=line.place.network,
                    steps=line.steps,
                    calls=line.calls,
                    learned=line.learned,
                    last_alone=line.last_alone,
                    called=line.place.site.location(),
                    where=line.backward.location() if line.backward is not None else None,
                    step=self.watch.iteration,
                )
