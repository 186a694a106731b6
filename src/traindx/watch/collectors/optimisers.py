"""Optimisers: steps, gradients and updates per group and parameter, and whether gradients are ever zeroed."""

from __future__ import annotations

import sys
import weakref
from collections import Counter, deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from importlib import import_module
from statistics import median
from typing import Any

from traindx.core import compat
from traindx.evidence.base import Record
from traindx.evidence.observed_optim import GradientSeries, OptimizerSeen, ParameterGroupSeen
from traindx.finding import Location
from traindx.watch.collectors.backwards import Backward, Backwards
from traindx.watch.collectors.loaders import Loader, Loaders
from traindx.watch.collectors.networks import Networks
from traindx.watch.runtime.call_sites import CallSite, constructor_site, directly, here, stack
from traindx.watch.runtime.planned import NO_PLAN, Plan, planned
from traindx.watch.runtime.schedule import ObservationLevel
from traindx.watch.runtime.source_trees import rate_setting_lines
from traindx.watch.runtime.stats import PROBED, has_values, probe, sample, thinned
from traindx.watch.runtime.structure import named_parameters
from traindx.watch.runtime.watch import Collector, Watch
from traindx.watch.runtime.wiring import Signal

SMALL = 1e-3  # root mean square below which a tensor began at zero and any step is large for it
GONE = 1e-3  # of the highest rate: practically nothing is learned below a thousandth
MOST_PLANS = 16  # optimisers; one a task, as in meta-learning, plans nothing
MOST_PENDING = 256  # backward passes without a step, as in a script that only looks at gradients
ADAPTIVE = ("adam", "lion", "rmsprop", "adagrad", "adadelta", "lamb", "adafactor", "rprop", "sophia", "prodigy", "muon")


@dataclass
class Group:
    """One parameter group over the watched iterations."""

    largest_lr: float = 0.0
    lr: float = 0.0
    norms: list[float] = field(default_factory=list)
    ratios: list[float] = field(default_factory=list)
    unchanged: list[float] = field(default_factory=list)
    name: str = ""
    parameters: int = 0
    elements: int = 0
    moved: float = 0.0


@dataclass
class Held:
    """A gradient that a step has used, by weak references and a few of its values.

    Attributes:
        parameter: Reference to the parameter.
        gradient: Reference to the gradient.
        values: A few values right after the step; after a backward pass that added to it, those right after it.
        added: A backward pass has added to these very values.
    """

    parameter: Callable[[], Any]
    gradient: Callable[[], Any]
    values: Any
    added: bool = False

    def is_of(self, tensor: Any) -> bool:
        """True if this tensor is the parameter or the gradient."""
        return self.parameter() is tensor or self.gradient() is tensor


@dataclass
class Tracked:
    """One optimiser.

    Attributes:
        cleared: The gradients of the last step are gone, replaced, changed or zero.
        unknown: Whether they are was not looked at, as that would wait for a device.
        counts: Steps by their number of backward passes.
        undivided: The same, of steps whose backward passes all lie in one pass over the data.
        mixed: The same, of steps that began before a pass over the data ended and took place after it.
        pending: Lines of the backward passes since gradients were last cleared or used.
        used: Backward passes that a step used, by line.
        wasted: Those whose gradients were cleared before any step, by line.
        bare: Steps after whose last backward pass the gradients were cleared.
        wasted_at: Where they were cleared.
        renews: A line that made an optimiser for the same parameters before made this one.
        plan: What the loops around its second step say of how many there will be.
        files: The script's own files whose code was running then.
        base: Greatest rate of any group when it was constructed.
        highest: Greatest rate of any group that acted in a step.
        alive: The last step, counted from 1, in which the rate of some group was more than ``GONE`` of the highest.
    """

    name: str
    made: CallSite | None
    reference: Callable[[], Any]
    steps: int = 0
    stepped: CallSite | None = None
    backward: CallSite | None = None
    first_lrs: tuple[float, ...] = ()
    lrs: tuple[float, ...] = ()
    parameters: int = 0
    groups: dict[int, Group] = field(default_factory=dict)
    iterations: list[int] = field(default_factory=list)
    norms: list[float] = field(default_factory=list)
    nonfinite: int = 0
    zeroed: int = 0
    never_zeroed: int = 0
    cleared: bool = True
    unknown: bool = False
    backwards: deque[int] = field(default_factory=lambda: deque(maxlen=64))
    counts: Counter[int] = field(default_factory=Counter)
    undivided: Counter[int] = field(default_factory=Counter)
    mixed: Counter[int] = field(default_factory=Counter)
    since_step: int = 0
    leftover: int = 0
    lost: int = 0
    before: dict[int, Any] = field(default_factory=dict)
    held: list[Held] = field(default_factory=list)
    pending: list[CallSite] = field(default_factory=list)
    used: Counter[CallSite] = field(default_factory=Counter)
    wasted: Counter[CallSite] = field(default_factory=Counter)
    bare: int = 0
    wasted_at: CallSite | None = None
    renews: bool = False
    plan: Plan = NO_PLAN
    files: frozenset[str] = frozenset()
    base: float = 0.0
    highest: float = 0.0
    alive: int = 0
    first_parameter: Callable[[], Any] = field(default=lambda: None)
    follows: set[CallSite] = field(default_factory=set)


@dataclass
class LastHook:
    """A hook that may take itself away while the hooks are being called: only if none of the script's comes after it.

    Otherwise it stays, and does nothing.
    """

    handle: Any
    hooks: dict[int, Any]

    def remove(self) -> None:
        """Take the hook away if that disturbs nobody."""
        if next(reversed(self.hooks), None) == self.handle.id:
            self.handle.remove()


class Optimisers(Collector):
    """Global step hooks, ``zero_grad``, and what backward passes mean to each optimiser.

    Attributes:
        tracked: What is known of each optimiser that is alive.
        order: The same in order of construction, the dead ones too.
        on_step: Tells the first group's learning rate right before every step.
        on_cleared: Tells an optimiser whose gradients are cleared now.
        on_measure: Tells an optimiser whose gradients are complete and looked at, right before it steps.
        first_probe: A sample of each parameter at its optimiser's first step.
        gradients: Root mean square of each parameter's gradient at the watched iterations, 0 where it has none.
        zeros: Parameters that had a gradient of zeros: the loss reaches them.
    """

    subject = "optimisers"

    def __init__(self, watch: Watch, backwards: Backwards, networks: Networks, loaders: Loaders) -> None:
        super().__init__(watch)
        self.backwards = backwards
        self.networks = networks
        self.loaders = loaders
        self.order: list[Tracked] = []
        weak = watch.torch.utils.weak  # by identity: tensors compare element by element
        self.tracked: Any = weak.WeakIdKeyDictionary()
        self.first_probe: Any = watch.weak_table()
        self.gradients: Any = watch.weak_table()
        self.zeros: Any = watch.weak_table()
        self._moved: Any = watch.weak_table()  # of parameters on a device, when it was last looked at
        watch.weak_tables.append(self)
        self.on_step: Signal[[float]] = Signal(watch)
        self.on_measure: Signal[[Any]] = Signal(watch)
        self.on_cleared: Signal[[Tracked]] = Signal(watch)
        self._steps: list[tuple[Any, bool, int]] = []  # optimisers that step: whether to attach afterwards, stack depth
        self._closures: list[Any] = []  # optimisers whose step will compute loss and gradients first

    def held(self) -> set[int]:
        """Parameters that some optimiser holds now, by identity."""
        return {id(p) for one in list(self.tracked) for group in one.param_groups for p in group["params"]}

    def install(self) -> None:
        """Patch construction and zeroing; register the global step hooks."""
        torch, watch = self.watch.torch, self.watch
        base = torch.optim.Optimizer

        def make_init(original: Any) -> Any:
            def init(optimizer: Any, *args: Any, **kwargs: Any) -> None:
                original(optimizer, *args, **kwargs)
                if watch.here_and_now:
                    with watch.ours(self):
                        self._track(optimizer, constructor_site(optimizer))
                    watch.start()

            return init

        def make_zero(original: Any) -> Any:
            def zero_grad(owner: Any, *args: Any, **kwargs: Any) -> None:
                if watch.here_and_now:
                    with watch.ours(self):
                        self._zeroed(owner)
                original(owner, *args, **kwargs)

            return zero_grad

        watch.patches.wrap(base, "__init__", make_init)
        watch.patches.wrap(base, "zero_grad", make_zero)
        watch.patches.wrap(torch.nn.Module, "zero_grad", make_zero)
        hooks = import_module("torch.optim.optimizer")
        watch.patches.keep(hooks.register_optimizer_step_pre_hook(self._before_step))
        after = hooks.register_optimizer_step_post_hook(self._after_step)
        watch.patches.keep(LastHook(after, hooks._global_optimizer_post_hooks))
        self.backwards.on_backward(self, before=self._before_backward, after=self._after_backward)
        self.loaders.on_pass_end(self, self._pass_ended)

    def _track(self, optimizer: Any, made: CallSite | None) -> Tracked:
        known: Tracked | None = self.tracked.get(optimizer)
        if known is None:
            known = Tracked(type(optimizer).__name__, made, weakref.ref(optimizer))
            known.base = max((self.watch.number(group["lr"], 0.0) for group in optimizer.param_groups), default=0.0)
            first = next((one for group in optimizer.param_groups for one in group["params"]), None)
            if first is not None:
                known.first_parameter = self.watch.torch.utils.weak.WeakIdRef(first)
                known.renews = made is not None and any(
                    one.made == made and one.steps and one.first_parameter() is first for one in self.order
                )
            self.tracked[optimizer] = known
            self.order.append(known)
        return known

    # -- gradients between steps ---------------------------------------------------------------------------------

    def _before_backward(self, call: Backward) -> None:
        """Did anybody clear or change the gradients of the last step? Seen on one parameter a group, by any means."""
        for tracked in self.order:
            if tracked.cleared or tracked.unknown:
                continue
            for held in tracked.held:
                grad = self._still_there(held)
                if grad is not None and self.watch.would_wait(grad):
                    tracked.unknown = True
                elif grad is None or not self._same(numbers_of(grad), held.values):
                    tracked.cleared = True
                if tracked.cleared or tracked.unknown:
                    break

    def _still_there(self, held: Held) -> Any:
        parameter = held.parameter()
        grad = None if parameter is None else parameter.grad
        return grad if grad is not None and held.gradient() is grad else None

    def _same(self, values: Any, before: Any) -> bool:
        """Still what the step used, and not zero."""
        return values.shape == before.shape and bool((values == before).all()) and bool(values.any())

    def _after_backward(self, call: Backward) -> None:
        for tracked in self.order:
            tracked.since_step += 1
            if len(tracked.pending) < MOST_PENDING:
                tracked.pending.append(call.site)
            if tracked.cleared or tracked.unknown:
                continue
            for held in tracked.held:
                grad = self._still_there(held)
                if grad is None:  # the pass made a new one instead of adding to it
                    tracked.cleared = True
                    break
                values = numbers_of(grad)
                held.added = held.added or not bool((values == held.values).all())
                held.values = values
        if self._closures and not self._is_stepping(self._closures[-1]):
            self._ready(self._closures[-1])  # inside its step, after the first evaluation

    def _old_gradients_used(self, tracked: Tracked) -> bool | None:
        """The step that comes next uses a sum with the gradients of the step before; None where that is not known.

        A gradient that no backward pass has added to, or that was overwritten since (assigned, or copied into place
        from ``torch.autograd.grad``), is no such sum. Clipping may have changed its length.
        """
        if tracked.cleared:
            return False
        if tracked.unknown or not tracked.held or not any(held.added for held in tracked.held):
            return None
        for held in tracked.held:
            grad = self._still_there(held)
            if grad is None:
                return False
            if self.watch.would_wait(grad):
                return None
            if held.added and not parallel(numbers_of(grad), held.values):
                return False
        return True

    def _zeroed(self, owner: Any) -> None:
        """``optimizer.zero_grad()`` or ``model.zero_grad()``."""
        known = self.tracked.get(owner)
        if known is not None:
            self._cleared(known)
        elif isinstance(owner, self.watch.torch.nn.Module):
            mine = {id(parameter) for _, parameter in named_parameters(owner)}
            for tracked in self.order:
                optimizer = tracked.reference()
                if optimizer is not None and any(id(p) in mine for g in optimizer.param_groups for p in g["params"]):
                    self._cleared(tracked)

    def _cleared(self, tracked: Tracked) -> None:
        tracked.lost += tracked.leftover
        tracked.leftover = 0
        tracked.cleared = True
        site = directly(4)  # a library that clears what it has put aside (per sample, per micro-batch) wastes nothing
        if tracked.pending and site is not None and not self._closures:  # LBFGS evaluates its closure many times
            tracked.wasted.update(tracked.pending)
            tracked.wasted_at = site
        tracked.pending = []
        self.on_cleared.tell(tracked)

    def _pass_ended(self, loader: Loader) -> None:
        """A pass over the training data ended; gradients that no step has used yet are left over."""
        for tracked in self.order if loader.trains else ():
            if tracked.steps and tracked.since_step:
                tracked.leftover = tracked.since_step

    # -- steps ---------------------------------------------------------------------------------------------------

    def _before_step(self, optimizer: Any, args: tuple[Any, ...], kwargs: dict[str, Any]) -> Any:
        """Measure now, or, where a closure computes loss and gradients inside the step, after its backward pass.

        The closure itself is left as it is: it is the script's, and so are the hooks that are handed it next.
        """
        watch = self.watch
        if not watch.here_and_now:
            return None
        self._unwind(optimizer)
        closure = args[1] if len(args) > 1 else kwargs.get("closure")
        if callable(closure):
            self._closures.append(optimizer)
        else:
            self._ready(optimizer)

    def _ready(self, optimizer: Any) -> None:
        """Gradients are complete and the update comes next."""
        watch = self.watch
        with watch.ours(self):
            tracked = self._track(optimizer, None)
            tracked.stepped = here() or tracked.stepped
            known = iter(tracked.lrs)
            tracked.lrs = tuple(watch.number(group["lr"], next(known, 0.0)) for group in optimizer.param_groups)
            self.on_step.tell(tracked.lrs[0])
            if self.backwards.last_site is not None:
                tracked.backward = self.backwards.last_site
                tracked.follows.add(self.backwards.last_site)
            if not tracked.steps:
                tracked.first_lrs = tracked.lrs
            self._note_rate(tracked)
            count = sum(len(group["params"]) for group in optimizer.param_groups)
            if count != tracked.parameters:  # the first step, or a group was added
                tracked.parameters = count
                self._probe(optimizer)
            if watch.level is not ObservationLevel.OFF:
                self._measure_gradients(optimizer, tracked)
                self.on_measure.tell(optimizer)
            if not any(one is optimizer for one in self._closures):
                self._count(tracked)
        self._steps.append((optimizer, watch.attached, stack_depth()))
        watch.detach()
        watch.quiet_depth += 1

    def _note_rate(self, tracked: Tracked) -> None:
        rate = max(tracked.lrs, default=0.0)
        tracked.highest = max(tracked.highest, rate)
        if rate > GONE * tracked.highest:
            tracked.alive = tracked.steps + 1
        if tracked.steps == 1 and len(self.order) <= MOST_PLANS:  # the first one may be a trial
            tracked.plan = planned(sys._getframe(1), self.loaders.passes()[1])
            tracked.files = frozenset(site.file for site in stack())

    def _rate_set(self, tracked: Tracked) -> Location | None:
        """Where the script sets the rate; looked for where it is gone, as the sources have to be read for it."""
        gone, never_there = tracked.steps - tracked.alive >= 8, tracked.highest < 0.5 * tracked.base
        of_a_group = any(one.lr < 1e-3 * one.largest_lr for one in tracked.groups.values())
        if tracked.highest <= 0 or not (gone or never_there or of_a_group):
            return None
        lines = rate_setting_lines(tracked.files)
        return lines[0].location() if len(lines) == 1 else None

    def _unwind(self, optimizer: Any) -> None:
        """A step of this optimiser begins: steps that are not around it and never ended have raised."""
        self._closures = [one for one in self._closures if one is not optimizer]
        depth = stack_depth()
        raised = next((one for one, _, at in self._steps if one is optimizer or at >= depth), None)
        if raised is not None:
            self._step_ends(raised)

    def _is_stepping(self, optimizer: Any) -> bool:
        return any(one is optimizer for one, _, _ in self._steps)

    def _step_ends(self, optimizer: Any) -> None:
        """Watch again, as before the step; steps inside it that raised have ended too."""
        watch = self.watch
        while self._steps:
            one, attached, _ = self._steps.pop()
            watch.quiet_depth = max(0, watch.quiet_depth - 1)
            if one is optimizer:
                if attached:
                    watch.attach()
                return

    def _count(self, tracked: Tracked) -> None:
        count = tracked.since_step
        tracked.backwards.append(count)
        tracked.counts[count] += 1
        if not tracked.leftover:
            tracked.undivided[count] += 1
        elif count > tracked.leftover:  # equal: a step for the remainder itself, as it should be
            tracked.mixed[count] += 1
        tracked.leftover = 0
        tracked.bare += bool(count) and not tracked.pending and tracked.wasted_at is not None
        tracked.used.update(tracked.pending)
        tracked.pending = []
        if tracked.steps:
            used = self._old_gradients_used(tracked)
            tracked.zeroed += used is False
            tracked.never_zeroed += used is True
        tracked.since_step = 0

    def _probe(self, optimizer: Any) -> None:
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                if parameter in self.first_probe:
                    continue
                first = thinned(parameter, PROBED)
                if self.watch.would_wait(parameter):
                    self.first_probe[parameter] = first.clone()
                else:  # no tensor is kept where that can be helped: scripts count those that live
                    self.first_probe[parameter] = first.cpu().numpy().copy()  # an array of torch's holds its tensor

    def _measure_gradients(self, optimizer: Any, tracked: Tracked) -> None:
        torch = self.watch.torch
        square = 0.0
        few = sum(len(group["params"]) for group in optimizer.param_groups) <= 40
        updates = few or self.watch.level is ObservationLevel.FULL
        tracked.before.clear()
        for index, group in enumerate(optimizer.param_groups):
            entry = tracked.groups.setdefault(index, Group())
            entry.lr = float(group["lr"])
            entry.largest_lr = max(entry.largest_lr, entry.lr)
            present = [p for p in group["params"] if p.grad is not None and is_dense(p.grad)]
            norms = compat.norms(torch, [p.grad for p in present])
            values = torch.stack([n.float() for n in norms]).tolist() if present else []
            for parameter, value in zip(present, values, strict=True):
                self.gradients.setdefault(parameter, []).append(value / max(1, parameter.numel()) ** 0.5)
                if not value:
                    self.zeros[parameter] = True
            for parameter in group["params"]:
                if parameter.grad is None:
                    self.gradients.setdefault(parameter, []).append(0.0)
                elif updates and is_dense(parameter.grad) and (parameter.dim() > 1 or parameter.numel() >= 16):
                    tracked.before[id(parameter)] = (probe(parameter, 1024), sample(parameter.grad, 1024) != 0)
            total = sum(value**2 for value in values)
            entry.norms.append(total**0.5)
            square += total
        bad = not square < float("inf")
        tracked.iterations.append(self.watch.iteration)
        tracked.norms.append(square**0.5 if not bad else float("nan"))
        tracked.nonfinite += bad

    def _after_step(self, optimizer: Any, args: Any, kwargs: Any) -> None:
        watch = self.watch
        by_closure = any(one is optimizer for one in self._closures)
        if by_closure and not self._is_stepping(optimizer) and watch.here_and_now:
            self._ready(optimizer)  # no backward pass was seen in it, and the update is over
            self.tracked[optimizer].before.clear()
        self._closures = [one for one in self._closures if one is not optimizer]
        if not self._is_stepping(optimizer):
            return
        self._step_ends(optimizer)
        if not watch.here_and_now:
            return
        with watch.ours(self):
            tracked = self._track(optimizer, None)
            if by_closure:
                self._count(tracked)
            tracked.steps += 1
            if tracked.before:
                self._measure_updates(optimizer, tracked)
            self._hold(optimizer, tracked)
        watch.optimizer_stepped(optimizer)

    def skipped(self, optimizer: Any) -> None:
        """A gradient scaler left a step out."""
        with self.watch.ours(self):
            tracked = self._track(optimizer, None)
            self._count(tracked)
            self._hold(optimizer, tracked)
        self.watch.optimizer_stepped(optimizer, skipped=True)

    def _measure_updates(self, optimizer: Any, tracked: Tracked) -> None:
        for index, group in enumerate(optimizer.param_groups):
            entry = tracked.groups[index]
            ratios, unchanged, counted = [], 0, 0
            for parameter in group["params"]:
                saved = tracked.before.get(id(parameter))
                if saved is None or not bool(saved[1].any()):
                    continue
                old, moving = saved
                new = probe(parameter, 1024)
                size = float(old.norm())
                if size > SMALL * old.numel() ** 0.5:
                    ratios.append(float((new - old).norm()) / size)
                unchanged += int(((new == old) & moving & (old != 0)).sum())
                counted += int((moving & (old != 0)).sum())
            if ratios:
                entry.ratios.append(median(ratios))
            if counted:
                entry.unchanged.append(unchanged / counted)
        tracked.before.clear()

    def _hold(self, optimizer: Any, tracked: Tracked) -> None:
        """Weak references to the gradients of this step, to see whether they are still there at the next."""
        reference = self.watch.torch.utils.weak.TensorWeakRef
        tracked.held = []
        tracked.cleared = tracked.unknown = False
        for group in optimizer.param_groups:
            for parameter in group["params"]:
                grad = parameter.grad
                if grad is not None and not grad.is_sparse:
                    if self.watch.would_wait(grad):
                        tracked.unknown = True
                    else:
                        tracked.held.append(Held(reference(parameter), reference(grad), numbers_of(grad)))
                    break
        if not tracked.held:
            tracked.unknown = True

    def clear(self) -> None:
        """Hold no weak reference to any tensor any more."""
        for tracked in self.order:
            tracked.held.clear()

    def pop(self, tensor: Any, default: Any = None) -> None:
        """Hold no weak reference to a tensor any more."""
        for tracked in self.order:
            tracked.held = [held for held in tracked.held if not held.is_of(tensor)]

    # -- for others ----------------------------------------------------------------------------------------------

    def parameters_after(self, backward: CallSite) -> list[Any]:
        """Trainable parameters of the optimisers that step after a backward pass from this line."""
        chosen: list[Any] = []
        for tracked in self.order:
            optimizer = tracked.reference()
            if optimizer is not None and backward in tracked.follows:
                chosen.extend(p for group in optimizer.param_groups for p in group["params"] if p.requires_grad)
        unique = {id(parameter): parameter for parameter in chosen}
        return [parameter for parameter in unique.values() if parameter.is_leaf]

    def end(self) -> None:
        """Optimisers may be gone when the last summary is written (a function returned): keep what is known."""
        if self.watch.level is ObservationLevel.FULL:
            for tracked in self.order:
                self._describe_groups(tracked)

    def _describe_groups(self, tracked: Tracked) -> None:
        optimizer = tracked.reference()
        for index, group in enumerate(optimizer.param_groups if optimizer is not None else ()):
            entry, parameters = tracked.groups.get(index), group["params"]
            if entry is not None:
                entry.name = common_prefix([str(self.networks.names.get(parameter, "")) for parameter in parameters])
                entry.parameters = len(parameters)
                entry.elements = sum(parameter.numel() for parameter in parameters)
                entry.moved = median([self.moved(p) for p in parameters if p.dim() > 1] or [0.0])

    def records(self) -> Iterable[Record]:
        """Optimisers, their groups and their gradients."""
        for number, tracked in enumerate(self.order):
            self._describe_groups(tracked)
            made = tracked.made.location() if tracked.made is not None else None
            accumulation = tracked.counts.most_common(1)[0][0] if tracked.counts else 1
            yield OptimizerSeen(
                optimizer=tracked.name,
                where=made,
                steps=tracked.steps,
                stepped=self.watch.shown(tracked.stepped) if tracked.stepped else None,
                backward=self.watch.shown(tracked.backward) if tracked.backward else None,
                lrs=tracked.lrs,
                first_lrs=tracked.first_lrs,
                parameters=tracked.parameters,
                adaptive=is_adaptive(tracked.name),
                never_zeroed=tracked.never_zeroed,
                zeroed=tracked.zeroed,
                backwards_per_step=tuple(tracked.backwards),
                leaked=leaked(tracked.mixed, tracked.undivided or tracked.counts),
                lost=tracked.lost,
                accumulation=accumulation,
                bare=tracked.bare,
                wasted=max((tracked.wasted[site] for site in tracked.wasted if tracked.used[site]), default=0),
                used=sum(tracked.used[site] for site in tracked.wasted if tracked.used[site]),
                wasted_at=self.watch.shown(tracked.wasted_at) if tracked.wasted_at else None,
                renews=tracked.renews,
                planned=tracked.plan.steps,
                passes=tracked.plan.passes,
                plan_is_exact=tracked.plan.exact,
                base_lr=tracked.base,
                highest_lr=tracked.highest,
                alive=tracked.alive,
                rate_set=self._rate_set(tracked),
                step=self.watch.iteration,
            )
            for index, entry in tracked.groups.items():
                yield ParameterGroupSeen(
                    optimizer=tracked.name,
                    where=made,
                    group=index,
                    number=number,
                    name=entry.name,
                    lr=entry.lr,
                    largest_lr=entry.largest_lr,
                    parameters=entry.parameters,
                    elements=entry.elements,
                    gradient_norms=tuple(entry.norms),
                    update_ratios=tuple(entry.ratios),
                    unchanged=median(entry.unchanged) if entry.unchanged else 0.0,
                    moved=entry.moved,
                    step=self.watch.iteration,
                )
            if tracked.iterations:
                yield GradientSeries(
                    where=self.watch.shown(tracked.stepped) if tracked.stepped else None,
                    iterations=tuple(tracked.iterations),
                    norms=tuple(tracked.norms),
                    nonfinite=tracked.nonfinite,
                    step=tracked.iterations[-1],
                )

    def moved(self, parameter: Any) -> float:
        """Relative distance of a parameter from where it was at its optimiser's first step, on a sample."""
        import numpy as np

        first = self.first_probe.get(parameter)
        if first is None:
            return 0.0
        if self.watch.would_wait(parameter):
            return float(self._moved.get(parameter, 0.0))
        if isinstance(first, self.watch.torch.Tensor):
            first = self.first_probe[parameter] = first.cpu().numpy().copy()
        size = float(np.linalg.norm(first))
        moved = float(np.linalg.norm(probe(parameter).numpy() - first)) / size if size > 0 else 0.0
        if parameter.device.type != "cpu":
            self._moved[parameter] = moved
        return moved


def is_dense(tensor: Any) -> bool:
    """True if a tensor's elements can be read one by one."""
    return str(tensor.layout) == "torch.strided" and has_values(tensor)


def stack_depth() -> int:
    """Frames above the caller."""
    frame, count = sys._getframe(1), 0
    while frame.f_back is not None:
        frame, count = frame.f_back, count + 1
    return count


def leaked(mixed: Counter[int], usual: Counter[int]) -> int:
    """Steps that hold backward passes of two passes over the data, and more of them than a step usually has.

    A step with its usual number is whole wherever the pass ends: under ``cycle(loader)`` nothing is left over, and a
    loader that looks ahead ends its pass before its last batch is used.
    """
    most = max((number for number, times in usual.items() if times == max(usual.values())), default=0)
    return sum(times for number, times in mixed.items() if number > most)


def numbers_of(grad: Any) -> Any:
    """A copy of a few of its values as an array: of tensors, scripts count those that are alive."""
    return sample(grad, 64).numpy().copy()


def parallel(values: Any, before: Any) -> bool:
    """True if two vectors point the same way, whatever their lengths; NaN and infinity do not."""
    scale = float((values @ values) ** 0.5 * (before @ before) ** 0.5)
    return scale > 0 and float(values @ before) > 0.5 * scale


def is_adaptive(name: str) -> bool:
    """True for optimisers that divide by the gradient's size."""
    return any(word in name.lower() for word in ADAPTIVE)


def common_prefix(names: list[str]) -> str:
    """The longest dotted prefix that all names share."""
    parts = [name.split(".") for name in names if name]
    if not parts:
        return ""
    shared = []
    for pieces in zip(*parts, strict=False):
        if len(set(pieces)) > 1:
            break
        shared.append(pieces[0])
    return ".".join(shared)
