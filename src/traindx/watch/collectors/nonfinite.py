"""The first operation that made values infinite or undefined, found in the graph of the very iteration it happened in.

The loss is looked at in every iteration where that costs no synchronisation. When it is not finite, the graph is still
there: its nodes are walked in the order in which they were made, and their saved inputs and results say which one
received finite values and produced others. Its line is known if the iteration was watched, or else from the same node
of an iteration that was watched and had the same graph.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

from traindx.core import compat
from traindx.evidence.base import Record
from traindx.evidence.observed_loss import NonFiniteOrigin
from traindx.watch.collectors.backwards import Backward, Backwards
from traindx.watch.collectors.networks import Networks
from traindx.watch.collectors.purity import Purity
from traindx.watch.collectors.torch_calls import TorchCalls, call_site
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.schedule import ObservationLevel
from traindx.watch.runtime.watch import Collector, Watch

MOST_NODES = 20_000
SAVED = ("self", "input", "other", "target", "weight", "mat1", "mat2")
RESULTS = ("result", "output")


@dataclass
class _Suspect:
    """A node that looks at fault."""

    index: int
    function: str
    low: float
    high: float
    share: float
    direction: str


class NonFinite(Collector):
    """Autopsy of a loss that is not finite."""

    subject = "values that are not finite"

    def __init__(
        self, watch: Watch, calls: TorchCalls, networks: Networks, backwards: Backwards, purity: Purity
    ) -> None:
        super().__init__(watch)
        self.purity = purity
        self.calls = calls
        self.networks = networks
        self.backwards = backwards
        self._sites: dict[int, tuple[CallSite | None, CallSite | None]] = {}
        self._template: list[tuple[str, CallSite | None, CallSite | None]] = []
        self._found: dict[tuple[Any, ...], NonFiniteOrigin] = {}
        self._done = 0

    def install(self) -> None:
        """Subscribe."""
        self.calls.on_every(self, self._note)
        self.backwards.on_backward(self, before=self._look)

    def begin(self) -> None:
        """A new graph."""
        self._sites.clear()

    def _note(self, func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> None:
        if self.watch.level is ObservationLevel.FULL and out.requires_grad:
            node = compat.node_of(out)
            if node is not None:
                self._sites[compat.number(node)] = (call_site(), self.networks.library_maker())

    def _look(self, call: Backward) -> None:
        if call.root.grad_fn is None or self._done >= 2:
            return
        broken = call.value is not None and not math.isfinite(call.value)
        full = self.watch.level is ObservationLevel.FULL
        if (not broken and not full) or self.purity.why_not_read:
            return
        nodes = sorted(graph_nodes(call.root.grad_fn), key=compat.number)
        if full and not broken:
            self._template = [(node.name(), *self._sites.get(compat.number(node), (None, None))) for node in nodes]
            self._keep(next(singular_nodes(nodes), None), nodes, call)
        elif broken:
            self._done += 1
            self._keep(first_broken(nodes), nodes, call)

    def _keep(self, suspect: _Suspect | None, nodes: list[Any], call: Backward) -> None:
        if suspect is None:
            return
        site, made = self._sites.get(compat.number(nodes[suspect.index]), (None, None))
        if site is None and len(self._template) == len(nodes):
            same = all(known[0] == node.name() for known, node in zip(self._template, nodes, strict=True))
            if same:
                _, site, made = self._template[suspect.index]
        key = (suspect.function, site, suspect.direction)
        if key in self._found:
            return
        self._found[key] = NonFiniteOrigin(
            function=suspect.function,
            where=self.watch.shown(site, made),
            made=made.location() if made is not None else None,
            input_low=suspect.low,
            input_high=suspect.high,
            share=suspect.share,
            direction=suspect.direction,
            loss=call.value if call.value is not None else math.nan,
            step=self.watch.iteration,
        )

    def records(self) -> Iterable[Record]:
        """What was found."""
        yield from self._found.values()


def graph_nodes(root: Any) -> Iterator[Any]:
    """All nodes of a graph but the leaves' accumulators."""
    waiting, seen = [root], {root}
    while waiting and len(seen) < MOST_NODES:
        node = waiting.pop()
        yield node
        for child, _ in node.next_functions:
            if child is not None and child not in seen and "AccumulateGrad" not in child.name():
                seen.add(child)
                waiting.append(child)


def saved(node: Any, names: tuple[str, ...]) -> Iterator[Any]:
    """Saved tensors of a node that can be read (those changed in place since cannot)."""
    for name in names:
        try:
            value: Any = compat.saved(node, name, None)
        except RuntimeError:
            continue
        if hasattr(value, "isfinite") and value.numel() and value.is_floating_point():
            yield value


def bad_share(tensor: Any) -> float:
    """Share of elements that are not finite; all are looked at, since this runs once."""
    return 1.0 - float(tensor.detach().isfinite().float().mean())


def first_broken(nodes: list[Any]) -> _Suspect | None:
    """The first node, in forward order, that gives what is not finite for finite inputs."""
    index_of = {node: index for index, node in enumerate(nodes)}
    for index, node in enumerate(nodes):
        outside = outside_domain(node)
        if outside is not None:
            return _Suspect(index, short_name(node), *outside, "forward")
        for tensor in saved(node, RESULTS):
            if bad_share(tensor) > 0:
                inputs = list(saved(node, SAVED))
                low, high = extremes(inputs[0]) if inputs else (math.nan, math.nan)
                return _Suspect(index, short_name(node), low, high, bad_share(tensor), "forward")
        for tensor in saved(node, SAVED):
            if bad_share(tensor) > 0:
                makers = [child for child, _ in node.next_functions if child in index_of]
                if makers:
                    culprit = max(makers, key=lambda child: index_of[child])
                    low, high = extremes(next(saved(culprit, SAVED), None))
                    return _Suspect(index_of[culprit], short_name(culprit), low, high, bad_share(tensor), "forward")
                return _Suspect(index, "input", math.nan, math.nan, bad_share(tensor), "forward")
    return None


def outside_domain(node: Any) -> tuple[float, float, float] | None:
    """Least and greatest input and share outside, for functions that are not defined everywhere."""
    name = node.name()
    value = next(saved(node, ("other",) if name.startswith("Div") else SAVED), None)
    if value is None:
        return None
    bad = None
    if name.startswith(("LogBackward", "Log2Backward", "Log10Backward")):
        bad = value.detach() <= 0
    elif name.startswith("Log1PBackward"):
        bad = value.detach() <= -1
    elif name.startswith(("DivBackward", "ReciprocalBackward")):
        bad = value.detach() == 0
    elif name.startswith(("AcosBackward", "AsinBackward")):
        bad = value.detach().abs() > 1
    elif name.startswith("PowBackward0"):
        exponent = compat.saved(node, "exponent")
        if isinstance(exponent, float) and not exponent.is_integer():
            bad = value.detach() < 0
    share = float(bad.float().mean()) if bad is not None else 0.0
    return (*extremes(value), share) if share > 0 else None


def singular_nodes(nodes: list[Any]) -> Iterator[_Suspect]:
    """Nodes whose value is finite but whose derivative is not: a root or fractional power at 0."""
    for index, node in enumerate(nodes):
        name = node.name()
        value = None
        if name.startswith("SqrtBackward"):
            value = next(saved(node, ("result",)), None)
        elif name.startswith("PowBackward0"):
            exponent = compat.saved(node, "exponent")
            if isinstance(exponent, float) and 0 < exponent < 1:
                value = next(saved(node, ("self",)), None)
        if value is not None:
            share = float((value.detach() == 0).float().mean())
            if share > 0:
                yield _Suspect(index, short_name(node), *extremes(value), share, "backward")


def extremes(tensor: Any) -> tuple[float, float]:
    """Least and greatest value."""
    if tensor is None or not tensor.numel():
        return math.nan, math.nan
    low, high = tensor.detach().float().aminmax()
    return float(low), float(high)


def short_name(node: Any) -> str:
    """``LogBackward0`` as ``log``."""
    name = str(node.name()).split("::")[-1]
    base = name.split("Backward")[0]
    return "".join(f"_{letter.lower()}" if letter.isupper() else letter for letter in base).lstrip("_")
