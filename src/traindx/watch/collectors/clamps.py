"""Clamps: where, how much lies on the bounds, and how much of the gradient stops there."""

from __future__ import annotations

import inspect
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from traindx.core import compat
from traindx.evidence.base import Record
from traindx.evidence.observed_loss import ClampSeen
from traindx.watch.collectors.backwards import Backward
from traindx.watch.collectors.loss_calls import LossCalls, share_outside, variance_lost
from traindx.watch.collectors.loss_terms import LossTerms, Term
from traindx.watch.collectors.networks import Call, Networks
from traindx.watch.collectors.provenance import Provenance, Tag
from traindx.watch.collectors.torch_calls import TorchCalls, argument, call_site, named_functions
from traindx.watch.runtime.schedule import Bursts
from traindx.watch.runtime.stats import sample, value_range
from traindx.watch.runtime.watch import Collector, Watch

GUARDED = (
    "log",
    "log2",
    "log10",
    "log1p",
    "sqrt",
    "rsqrt",
    "reciprocal",
    "div",
    "truediv",
    "true_divide",
    "pow",
    "rdiv",
)
MOST_ELEMENTS = 4_000_000


@dataclass
class _Clamp:
    function: str
    low: float
    high: float
    calls: int = 0
    hidden: int = 0
    with_gradient: int = 0
    shares: list[float] = field(default_factory=list)
    lost: list[float] = field(default_factory=list)
    lows: list[float] = field(default_factory=list)
    highs: list[float] = field(default_factory=list)
    before_log: bool = False
    outside: list[float] = field(default_factory=list)
    unreachable: list[float] = field(default_factory=list)
    target_low: float = math.inf
    target_high: float = -math.inf
    samples: list[float] = field(default_factory=list)
    weights: list[float] = field(default_factory=list)


class Clamps(Collector):
    """Every ``clamp``, ``clip`` and ``hardtanh`` with finite bounds."""

    subject = "clamps"

    def __init__(
        self,
        watch: Watch,
        calls: TorchCalls,
        networks: Networks,
        provenance: Provenance,
        losses: LossCalls,
        terms: LossTerms,
    ) -> None:
        super().__init__(watch)
        self.calls = calls
        self.networks = networks
        self.provenance = provenance
        self.losses = losses
        self.terms = terms
        self.bursts = Bursts(dense=6, ratio=1.5)
        self._clamps: dict[tuple[Any, ...], _Clamp] = {}
        self._inside: list[tuple[_Clamp, int]] = []
        self._cut: dict[int, tuple[_Clamp, float, float]] = {}  # by number of the node, in this iteration

    def install(self) -> None:
        """Subscribe."""
        torch = self.watch.torch
        names = ("clamp", "clip", "hardtanh", "clamp_min", "clamp_max")
        self.calls.on(self, named_functions(torch, names), self._clamp)
        self.calls.on(self, named_functions(torch, GUARDED), self._guard)
        self.losses.on_target(self, self._compared)
        self.networks.on_call(self, self._network_ended)
        self.terms.on_terms(self, self._averaged)

    def begin(self) -> None:
        """A call that did not end left these behind."""
        self._inside.clear()
        self._cut.clear()

    def _network_ended(self, call: Call) -> None:
        """A clamp after which the same network calls further layers is between layers: an activation."""
        for entry, entered in self._inside:
            entry.hidden += self.networks.layers_entered > entered
        self._inside.clear()

    def _clamp(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Callable[[Any], None] | None:
        tensor = argument(args, kwargs, 0, "input")
        if not isinstance(tensor, self.watch.torch.Tensor) or not tensor.is_floating_point():
            return None
        low, high = bounds_of(name, args, kwargs)
        if low is None or (low == 0.0 and math.isinf(high)):  # the latter is a rectifier
            return None
        site, made = call_site(), self.networks.library_maker()
        key = (site, made, name, low, high)
        entry = self._clamps.setdefault(key, _Clamp(name, low, high))
        entry.calls += 1
        if self.networks.depth:
            self._inside.append((entry, self.networks.layers_entered))
        requires = bool(tensor.requires_grad)
        entry.with_gradient += requires
        before = self.provenance.tag(tensor) or Tag()
        mask, cut = None, None
        if tensor.numel() and self.bursts.wanted(key):
            seen = value_range(tensor)
            values = sample(tensor)
            entry.shares.append(float(((values <= low) | (values >= high)).float().mean()))
            entry.lows.append(seen.low)
            entry.highs.append(seen.high)
            if requires and tensor.numel() <= MOST_ELEMENTS:
                mask = (tensor.detach() < low) | (tensor.detach() > high)
                cut = cut_off(values, high) if low <= 0 and math.isfinite(high) else None

        def done(out: Any) -> None:
            self.provenance.put(out, Tag(before.activation, before.site, before.made, clamp=key, cut=before.cut))
            if mask is not None and out.requires_grad:
                self._listen(out, entry, mask)
            node = compat.node_of(out) if cut is not None else None
            if node is not None and cut is not None:
                self._cut[compat.number(node)] = (entry, *cut)

        return done

    def _averaged(self, call: Backward, terms: list[tuple[Term, list[Any]]]) -> None:
        """A clamp whose result is averaged, or added up, to a term of the loss has cut the loss of single elements."""
        for _, nodes in terms:
            for node in nodes:
                if not node.name().startswith(("MeanBackward", "SumBackward")):
                    continue
                below = node.next_functions[0][0]
                entry, share, weight = self._cut.get(
                    compat.number(below) if below is not None else -1, (None, 0.0, 0.0)
                )
                if entry is not None:
                    entry.samples.append(share)
                    entry.weights.append(weight)

    def _listen(self, out: Any, entry: _Clamp, mask: Any) -> None:
        watch, terms = self.watch, self.terms

        def arrived(grad: Any) -> None:
            if grad is None or terms.taking_apart or watch.over:
                return
            with watch.ours(self):
                whole = float(grad.float().norm())
                if whole > 0:
                    entry.lost.append(float(grad.float()[mask].norm()) / whole)

        inspect.unwrap(watch.torch.Tensor.register_hook)(out, arrived)

    def _guard(self, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
        operand = args[1] if name in ("div", "truediv", "true_divide") and len(args) > 1 else args[0] if args else None
        tag = self.provenance.tag(operand) if isinstance(operand, self.watch.torch.Tensor) else None
        if tag is not None and tag.clamp is not None:
            self._clamps[tag.clamp].before_log = True

    def _compared(self, tag: Tag, target: Any) -> None:
        entry = self._clamps.get(tag.clamp)
        if entry is not None and len(entry.outside) < 32:
            entry.outside.append(share_outside(target, (entry.low, entry.high)))
            entry.unreachable.append(variance_lost(target, (entry.low, entry.high)))
            seen = value_range(target)
            entry.target_low = min(entry.target_low, seen.least)
            entry.target_high = max(entry.target_high, seen.greatest)

    def records(self) -> Iterable[Record]:
        """One record a site and pair of bounds."""
        for (site, made, _, _, _), entry in self._clamps.items():
            if not entry.shares:
                continue
            place = made or site
            yield ClampSeen(
                function=entry.function,
                where=self.watch.shown(place),
                low=entry.low,
                high=entry.high,
                calls=entry.calls,
                with_gradient=entry.with_gradient,
                hidden=entry.hidden == entry.calls,
                on_bounds=mean(entry.shares),
                gradient_lost=mean(entry.lost),
                gradient_calls=len(entry.lost),
                input_low=min(entry.lows),
                input_high=max(entry.highs),
                before_log=entry.before_log,
                reaches_loss=bool(entry.lost),
                first_on_bounds=entry.shares[0],
                last_on_bounds=entry.shares[-1],
                target_outside=mean(entry.outside) if entry.outside else -1.0,
                target_lost=mean(entry.unreachable),
                target_low=entry.target_low if entry.outside else 0.0,
                target_high=entry.target_high if entry.outside else 0.0,
                loss_share=mean(entry.samples[len(entry.samples) // 2 :]),
                loss_weight=mean(entry.weights[len(entry.weights) // 2 :]),
                loss_calls=len(entry.weights),
                step=self.watch.iteration,
            )


def bounds_of(name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> tuple[float | None, float]:
    """Bounds of a clamp as numbers; ``(None, 0)`` where they are tensors or missing."""
    if name == "hardtanh":
        low, high = argument(args, kwargs, 1, "min_val", -1.0), argument(args, kwargs, 2, "max_val", 1.0)
    elif name == "clamp_min":
        low, high = argument(args, kwargs, 1, "min"), None
    elif name == "clamp_max":
        low, high = None, argument(args, kwargs, 1, "max")
    else:
        low, high = argument(args, kwargs, 1, "min"), argument(args, kwargs, 2, "max")
    if low is None and high is None:
        return None, 0.0
    numbers = [default if value is None else value for value, default in ((low, -math.inf), (high, math.inf))]
    if not all(isinstance(value, int | float) for value in numbers):
        return None, 0.0
    return float(numbers[0]), float(numbers[1])


def cut_off(values: Any, high: float) -> tuple[float, float] | None:
    """Share of the elements above a bound, and of their sum in the sum of all; None where some are negative."""
    whole = float(values.double().sum())
    if whole <= 0 or float(values.min()) < 0:
        return None
    above = values > high
    return float(above.double().mean()), float(values[above].double().sum()) / whole


def mean(values: list[float]) -> float:
    """Arithmetic mean, 0 of nothing."""
    return sum(values) / len(values) if values else 0.0
