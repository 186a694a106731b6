"""Accumulated gradients: what several backward passes of one line leave for a step, and what divides it."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from statistics import median
from types import FrameType
from typing import Any

from traindx.core.frames import locals_of
from traindx.evidence.base import Record
from traindx.evidence.observed_optim import AccumulationSeen
from traindx.watch.collectors.backwards import Backward, Backwards
from traindx.watch.collectors.loaders import Loader, Loaders
from traindx.watch.collectors.loss_factors import SAME, Factors, factors_of
from traindx.watch.collectors.loss_terms import LossTerms
from traindx.watch.collectors.networks import Call, Networks
from traindx.watch.collectors.optimisers import Optimisers, Tracked, numbers_of
from traindx.watch.collectors.purity import Purity
from traindx.watch.runtime.call_sites import CallSite, users
from traindx.watch.runtime.counted_passes import compensated, counts_in, number_of
from traindx.watch.runtime.schedule import ObservationLevel
from traindx.watch.runtime.watch import Collector, Watch

MOST_FRAMES = 24
MOST_LOOKS = 64  # steps


@dataclass
class _Pass:
    site: CallSite
    factors: Factors | None
    scale: float
    inputs: frozenset[Any]
    read: int
    left: Any  # some values of a gradient after it
    added: bool


@dataclass
class _Seen:
    """Steps of one optimiser after several backward passes of one line."""

    site: CallSite
    tracked: Tracked
    counts: Counter[int] = field(default_factory=Counter)
    steps: int = 0
    apart: int = 0
    kept: int = 0
    means: int = 0
    read: int = 0
    hooked: bool = False
    seeded: bool = False
    scales: bool = True  # at every step looked at; the optimiser may be gone when the record is written
    commons: list[float] = field(default_factory=list)
    largest: list[float] = field(default_factory=list)
    totals: list[float] = field(default_factory=list)
    constants: set[float] = field(default_factory=set)
    rates: list[float] = field(default_factory=list)
    momentum: float = 0.0
    names: dict[str, set[int]] = field(default_factory=dict)  # what is called an accumulation, with its values
    tests: dict[str, set[int]] = field(default_factory=dict)  # what a step waits for: ``if step % n == 0``


class Accumulations(Collector):
    """Follows the backward passes of watched iterations to the step that uses them."""

    subject = "accumulated gradients"

    def __init__(
        self,
        watch: Watch,
        backwards: Backwards,
        optimisers: Optimisers,
        terms: LossTerms,
        networks: Networks,
        loaders: Loaders,
        purity: Purity,
    ) -> None:
        super().__init__(watch)
        self.backwards = backwards
        self.optimisers = optimisers
        self.terms = terms
        self.networks = networks
        self.loaders = loaders
        self.purity = purity
        self._passes: list[_Pass] = []
        self._inputs: set[Any] = set()
        self._read = 0
        self._factors: Factors | None = None
        self._other = False  # something that makes these backward passes no plain accumulation
        self._seen: dict[tuple[int, CallSite], _Seen] = {}
        self._names: dict[str, set[int]] = {}
        self._tests: dict[str, set[int]] = {}

    def install(self) -> None:
        """Subscribe."""
        self.backwards.on_backward(self, before=self._before, after=self._after)
        self.optimisers.on_measure(self, self._steps)
        self.networks.on_call(self, self._called)
        self.loaders.on_read(self, self._batch)

    def begin(self) -> None:
        """A watched iteration begins."""
        self._passes, self._inputs, self._read, self._other = [], set(), 0, False
        self._names, self._tests = {}, {}

    @property
    def _looking(self) -> bool:
        return self.watch.level is not ObservationLevel.OFF

    def _called(self, call: Call) -> None:
        if self._looking and call.grad:
            for value in (*call.args, *call.kwargs.values()):
                if isinstance(value, self.watch.torch.Tensor) and value.numel() and not self.watch.would_wait(value):
                    numbers = numbers_of(value)
                    self._inputs.add((tuple(value.shape), float(numbers.sum()), float(abs(numbers).sum())))
                    return

    def _batch(self, loader: Loader, batch: Any) -> None:
        self._read += 1

    # -- backward passes -----------------------------------------------------------------------------------------

    def _before(self, call: Backward) -> None:
        self._factors = None
        if not self._looking or len(self._passes) >= MOST_LOOKS or call.root.grad_fn is None:
            return
        self._other = self._other or call.seeded or call.root.numel() != 1
        may_read = not self.purity.why_not_read
        self._factors = factors_of(call.root.grad_fn, 1.0 / call.scale, self.terms.notes, may_read=may_read)
        if len(self._passes) < 2:
            self._look_around()

    def _look_around(self) -> None:
        """What the functions that run call an accumulation, and how many passes they wait for before a step."""
        frame: FrameType | None = sys._getframe(2)
        for _ in range(MOST_FRAMES):
            if frame is None:
                return
            code = frame.f_code
            if users(code.co_filename):
                first = 0 if code.co_name == "<module>" else code.co_firstlineno
                named, tested = counts_in(code.co_filename, first)
                if named or tested:
                    names = {**frame.f_globals, **locals_of(frame)}
                    for kind, found in ((named, self._names), (tested, self._tests)):
                        for source, node in kind:
                            value = number_of(node, names)
                            if value is not None:
                                found.setdefault(source, set()).add(value)
            frame = frame.f_back

    def _after(self, call: Backward) -> None:
        if not self._looking or len(self._passes) >= MOST_LOOKS:
            return
        left = self._gradient()
        before = self._passes[-1].left if self._passes else None
        added = left is not None and bool(left.any())
        if added and before is not None and before.shape == left.shape:
            added = not bool((left == before).all())
        entry = _Pass(call.site, self._factors, call.scale, frozenset(self._inputs), self._read, left, added)
        self._passes.append(entry)
        self._inputs, self._read = set(), 0

    def _gradient(self) -> Any:
        """Some values of the gradient of the one optimiser's largest parameter."""
        if len(self.optimisers.tracked) != 1:
            return None
        (optimizer,) = list(self.optimisers.tracked)
        held = [one for group in optimizer.param_groups for one in group["params"] if one.grad is not None]
        held = [one for one in held if one.grad.layout is self.watch.torch.strided]
        if not held or self.watch.would_wait(held[0]):
            return None
        return numbers_of(max(held, key=lambda one: one.numel()).grad)

    # -- steps ---------------------------------------------------------------------------------------------------

    def _steps(self, optimizer: Any) -> None:
        passes, self._passes = self._passes, []
        tracked = self.optimisers.tracked.get(optimizer)
        alone = tracked is not None and len(self.optimisers.tracked) == 1
        if tracked is None or not alone or len(passes) < 2 or tracked.since_step != len(passes):
            return
        if len({one.site for one in passes}) != 1:
            return
        seen = self._seen.setdefault((id(tracked), passes[0].site), _Seen(passes[0].site, tracked))
        if seen.steps >= MOST_LOOKS:
            return
        seen.steps += 1
        seen.counts[len(passes)] += 1
        inputs = [one.inputs for one in passes]
        seen.apart += all(inputs) and len(frozenset.union(*inputs)) == sum(len(one) for one in inputs)
        seen.read += all(one.read == 1 for one in passes)
        last, now = passes[-1], self._gradient()
        plain = all(one.added for one in passes) and (now is None or last.left is not None)
        seen.kept += plain and now is not None and same_up_to(now, last.left, (1.0, 1.0 / last.scale))
        seen.hooked = seen.hooked or hooked(optimizer)
        seen.scales = seen.scales and type(optimizer) in self._scaling_kinds()
        seen.seeded = seen.seeded or self._other
        factors = [one.factors for one in passes if one.factors is not None]
        if len(factors) == len(passes):
            seen.means += all(one.means for one in factors)
            seen.commons.append(median(one.common for one in factors))
            seen.largest.append(median(one.largest for one in factors))
            seen.totals.append(median(one.total for one in factors))
            seen.constants.update(constant for one in factors for constant in one.constants[:8])
        seen.rates.append(max(tracked.lrs, default=0.0))
        seen.momentum = max((float(group.get("momentum", 0.0)) for group in optimizer.param_groups), default=0.0)
        for mine, new in ((seen.names, self._names), (seen.tests, self._tests)):
            for source, values in new.items():
                mine.setdefault(source, set()).update(values)

    def records(self) -> Iterable[Record]:
        """One record an optimiser and line."""
        for seen in self._seen.values():
            passes = seen.counts.most_common(1)[0][0]
            named = next((one for one, values in seen.names.items() if values == {passes}), "")
            tested = next((one for one, values in seen.tests.items() if values == {passes}), "")
            yield AccumulationSeen(
                optimizer=seen.tracked.name,
                scales=seen.scales,
                passes=passes,
                steps=seen.steps,
                usual=seen.counts[passes],
                apart=seen.apart,
                read=seen.read,
                kept=seen.kept,
                means=seen.means,
                hooked=seen.hooked or seen.seeded,
                common=median(seen.commons) if seen.commons else 0.0,
                largest=median(seen.largest) if seen.largest else 0.0,
                total=median(seen.totals) if seen.totals else 0.0,
                divided=any(abs(one * passes - 1) < SAME for one in seen.constants),
                named=named,
                tested=tested,
                compensated=compensated(named or tested, passes),
                rate=max(seen.rates, default=0.0),
                momentum=seen.momentum,
                stepped=self.watch.shown(seen.tracked.stepped) if seen.tracked.stepped else None,
                where=self.watch.shown(seen.site),
                step=self.watch.iteration,
            )

    def _scaling_kinds(self) -> tuple[type, ...]:
        """Optimisers whose step is as long as the gradient."""
        return (self.watch.torch.optim.SGD, self.watch.torch.optim.ASGD)


def hooked(optimizer: Any) -> bool:
    """Something may change gradients where it is not seen: hooks of the parameters, or of the step itself."""
    fields = vars(optimizer)
    if fields.get("_optimizer_step_pre_hooks"):
        return True
    kinds = ("_backward_hooks", "_post_accumulate_grad_hooks")
    return any(
        getattr(one, kind, None) for group in optimizer.param_groups for one in group["params"] for kind in kinds
    )


def same_up_to(now: Any, before: Any, factors: tuple[float, ...]) -> bool:
    """True if one gradient is the other one, times one of these factors."""
    if now.shape != before.shape:
        return False
    largest = float(abs(before).max())
    return largest > 0 and any(float(abs(now - before * one).max()) <= SAME * largest * abs(one) for one in factors)
