"""Learning-rate schedules: when they step, for how many steps they were made, and what becomes of the rate."""

from __future__ import annotations

import ast
import inspect
import math
import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any

from traindx.core import compat
from traindx.evidence.base import Record
from traindx.evidence.observed_optim import SchedulerSeen
from traindx.watch.collectors.loaders import Loaders
from traindx.watch.collectors.optimisers import Optimisers
from traindx.watch.runtime.call_sites import CallSite, constructor_site, here
from traindx.watch.runtime.source_text import assigned_at, assigned_name, calls_method, statement_at
from traindx.watch.runtime.source_trees import source_files
from traindx.watch.runtime.stats import thin
from traindx.watch.runtime.syntax import walk
from traindx.watch.runtime.watch import Collector, Watch


@dataclass
class _Schedule:
    name: str
    made: CallSite | None
    horizon: int
    warmup: int
    base: float
    begun: int
    stepped: CallSite | None = None
    calls: int = 0
    before_optimizer: int = 0
    position: int = 0
    rates: list[float] = field(default_factory=list)
    lowest: float = float("inf")
    highest: float = 0.0
    at_iterations: set[int] = field(default_factory=set)
    optimizer_steps: int = 0
    inside_another: bool = False  # a part of SequentialLR or ChainedScheduler, which steps it
    moved_by_others: bool = False
    optimizer: Any = None
    of: CallSite | None = None
    first_change: int = 0
    idle_calls: int = 0
    seen_steps: int = 0
    seen_total: int = 0


class Rates(Collector):
    """Wraps ``step`` of every schedule class of torch."""

    subject = "learning-rate schedules"

    def __init__(self, watch: Watch, optimisers: Optimisers, loaders: Loaders) -> None:
        super().__init__(watch)
        self.optimisers = optimisers
        self.loaders = loaders
        self._known: Any = watch.torch.utils.weak.WeakIdKeyDictionary()
        self._order: list[_Schedule] = []
        self._depth = 0

    def install(self) -> None:
        """Patch construction and stepping."""
        module = import_module("torch.optim.lr_scheduler")
        base = module.LRScheduler
        for kind in vars(module).values():
            if inspect.isclass(kind) and issubclass(kind, base) and "step" in vars(kind):
                self.watch.patches.wrap(kind, "step", self._make_step)
        for kind in vars(module).values():
            if inspect.isclass(kind) and issubclass(kind, base) and "__init__" in vars(kind):
                self.watch.patches.wrap(kind, "__init__", self._make_init)

    def _make_init(self, original: Any) -> Any:
        watch = self.watch

        def init(scheduler: Any, optimizer: Any, *args: Any, **kwargs: Any) -> None:
            self._depth += 1
            base = 0.0
            try:
                if isinstance(optimizer, watch.torch.optim.Optimizer):
                    base = watch.number(optimizer.param_groups[0]["lr"], 0.0)
                original(scheduler, optimizer, *args, **kwargs)
            finally:
                self._depth -= 1
            if self._depth == 0 and watch.here_and_now:
                with watch.ours(self):
                    for part in getattr(scheduler, "_schedulers", ()):
                        if part in self._known:
                            self._known[part].inside_another = True
                            base = max(base, self._known[part].base)  # the parts have changed the rate already
                    entry = _Schedule(
                        type(scheduler).__name__,
                        constructor_site(scheduler),
                        *horizon_of(scheduler),
                        base=base,
                        begun=watch.iteration,
                    )
                    entry.seen_total = watch.steps
                    entry.first_change = first_change_of(scheduler)
                    if isinstance(optimizer, watch.torch.optim.Optimizer):
                        entry.optimizer = watch.torch.utils.weak.WeakIdRef(optimizer)
                    self._known[scheduler] = entry
                    self._order.append(entry)
                    self._note(entry, scheduler)

        return init

    def _make_step(self, original: Any) -> Any:
        watch = self.watch

        def step(scheduler: Any, *args: Any, **kwargs: Any) -> Any:
            if self._depth or not watch.here_and_now:
                return original(scheduler, *args, **kwargs)
            self._depth += 1
            try:
                result = original(scheduler, *args, **kwargs)
            finally:
                self._depth -= 1
            with watch.ours(self):
                self._stepped(scheduler)
            return result

        return step

    def _steps_for_another(self, scheduler: Any) -> bool:
        """True if another optimiser has the same groups, as one has that wraps it: what moves here acts there."""
        own = getattr(scheduler, "optimizer", None)
        groups = {id(group) for group in getattr(own, "param_groups", ())}
        others = [one for one in list(self.optimisers.tracked) if one is not own]
        return any(id(group) in groups for one in others for group in getattr(one, "param_groups", ()))

    def _stepped(self, scheduler: Any) -> None:
        entry = self._known.get(scheduler)
        if entry is None:
            return
        entry.calls += 1
        entry.stepped = here() or entry.stepped
        tracked = self.optimisers.tracked.get(getattr(scheduler, "optimizer", None))
        steps = tracked.steps if tracked is not None else 0
        entry.of = tracked.made if tracked is not None else entry.of
        entry.optimizer_steps = steps
        rested = steps == entry.seen_steps and self.watch.steps > entry.seen_total
        entry.idle_calls += rested and not self._steps_for_another(scheduler)
        entry.seen_steps, entry.seen_total = steps, self.watch.steps
        entry.before_optimizer += steps == 0
        entry.at_iterations.add(self.watch.iteration)
        entry.position = int(getattr(scheduler, "last_epoch", entry.calls))
        self._note(entry, scheduler)

    def _note(self, entry: _Schedule, scheduler: Any) -> None:
        optimizer = getattr(scheduler, "optimizer", None)
        if optimizer is None:
            return
        rate = self.watch.number(optimizer.param_groups[0]["lr"], math.nan)
        if math.isnan(rate):
            return
        for other in self._order:  # while this one was still, somebody else was not
            if other is not entry and other.optimizer is not None and other.optimizer() is optimizer and other.rates:
                other.moved_by_others |= rate != other.rates[-1]
        entry.rates.append(rate)
        entry.lowest, entry.highest = min(entry.lowest, rate), max(entry.highest, rate)
        if len(entry.rates) > 2048:
            entry.rates = thin(entry.rates, 512)

    def records(self) -> Iterable[Record]:
        """One record a schedule."""
        epochs, per_epoch = self.loaders.passes()
        for entry in self._order:
            if entry.inside_another:
                continue
            optimizer = entry.optimizer() if entry.optimizer is not None else None
            if optimizer is not None and entry.rates:
                rate = self.watch.number(optimizer.param_groups[0]["lr"], entry.rates[-1])
                entry.moved_by_others |= rate != entry.rates[-1]
            made = entry.made
            name = assigned_name(made).rpartition(".")[2] if made is not None else ""
            later = False
            if made is not None and name and not entry.calls:  # it may be handed to another file
                later = any(calls_method(file, name, "step") for file in (made.file, *source_files()))
            passed = max(1, self.watch.iteration - entry.begun)
            yield SchedulerSeen(
                scheduler=entry.name,
                where=self.watch.shown(entry.stepped, entry.made),
                made=entry.made.location() if entry.made is not None else None,
                calls=entry.calls,
                before_optimizer=entry.before_optimizer,
                optimizer_steps=entry.optimizer_steps,
                per_iteration=entry.calls >= 4 and len(entry.at_iterations) >= 0.5 * passed,
                horizon=entry.horizon,
                warmup=entry.warmup,
                lrs=tuple(thin(entry.rates, 256)),
                lowest=entry.lowest if entry.rates else 0.0,
                highest=entry.highest if entry.rates else 0.0,
                last=entry.rates[-1] if entry.rates else 0.0,
                epochs=epochs,
                iterations_per_epoch=per_epoch,
                base=entry.base,
                moved_by_others=entry.moved_by_others,
                position=entry.position,
                counts_batches=made is not None and counts_batches(made),
                step_not_reached=later,
                idle_calls=entry.idle_calls,
                of=entry.of.location() if entry.of is not None else None,
                first_change=entry.first_change,
                step=self.watch.iteration,
            )


COUNTS = re.compile(r"batch|step|iter", re.IGNORECASE)


def counts_batches(made: CallSite) -> bool:
    """True if an argument of a schedule's construction is computed from ``len(...)`` or a number of batches."""
    statement = statement_at(made.file, made.line)
    for node in walk(statement) if statement is not None else ():
        if isinstance(node, ast.Call):
            values = [*node.args[1:], *(one.value for one in node.keywords)]
            if any(one.arg == "steps_per_epoch" for one in node.keywords) or any(_counts(v, made) for v in values):
                return True
    return False


def _counts(value: ast.expr, made: CallSite, *, followed: bool = False) -> bool:
    for node in walk(value):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "len":
            return True
        name = node.id if isinstance(node, ast.Name) else node.attr if isinstance(node, ast.Attribute) else ""
        if COUNTS.search(name):
            return True
        if isinstance(node, ast.Name) and not followed:
            there = assigned_at(made, node.id)
            source = statement_at(there.file, there.line) if there is not None else None
            if isinstance(source, ast.Assign) and _counts(source.value, made, followed=True):
                return True
    return False


def first_change_of(scheduler: Any) -> int:
    """Calls after which a rate that falls in stairs first changes; 0 for any other schedule."""
    name = type(scheduler).__name__
    if name == "StepLR":
        return int(scheduler.step_size)
    if name == "MultiStepLR":
        return min(_milestones(scheduler), default=0)
    return 0


def _milestones(scheduler: Any) -> list[int]:
    """Those that come: ``[0.5 * n, 0.75 * n]`` are fractions where ``n`` is odd, and no count of calls is one."""
    return [int(one) for one in scheduler.milestones if float(one).is_integer()]


def horizon_of(scheduler: Any) -> tuple[int, int]:
    """Number of steps that a schedule was made for, and how many of them are warm-up; zeros where it has no end."""
    name = type(scheduler).__name__
    if name == "OneCycleLR":
        phases = getattr(scheduler, "_schedule_phases", None)
        rising = int(phases[0]["end_step"]) + 1 if phases else 0
        return int(scheduler.total_steps), rising
    if name == "CosineAnnealingLR":
        return int(scheduler.T_max), 0
    if name in ("LinearLR", "PolynomialLR", "ConstantLR"):
        total = int(getattr(scheduler, "total_iters", 0))
        rises = name == "LinearLR" and scheduler.end_factor > scheduler.start_factor
        return (0, total) if rises else (total, 0)
    if name == "MultiStepLR":
        return max(_milestones(scheduler), default=0), 0
    if name == "SequentialLR":
        parts, milestones = compat.parts_of_schedule(scheduler)
        last, _ = horizon_of(parts[-1])
        start = int(milestones[-1]) if milestones else 0
        return (start + last if last else 0), horizon_of(parts[0])[1]
    return 0, 0
