"""O407 scheduler-misused, against the length of the training that the script's loops plan."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_optim import OptimizerSeen, SchedulerSeen
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "O407",
    "scheduler-misused",
    Severity.MAJOR,
    needs=(OptimizerSeen,),
    looked_at=requires(
        OptimizerSeen,
        lambda seen, limits: seen.steps >= limits.after,
        otherwise="no optimiser took enough steps",
    ),
    early=Threshold(0.3, "of the steps planned, after which the rate is gone; the milestones in use begin at a third"),
    early_zero=Threshold(0.6, "the same for a rate of exactly zero, which no stage of a training is given"),
    after=Threshold(12, "steps that were taken since at the vanished rate"),
    tail=Threshold(0.05, "of the plan for which it has been gone; a cosine is below a thousandth in its last fiftieth"),
    longer=Threshold(
        2.5, "length of a one-cycle schedule over the calls that there will be; it is made to be completed"
    ),
    half_way=Threshold(0.25, "highest rate over the intended one when half of the plan is done"),
)
def schedule_against_plan(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The rate is gone after a small share of the steps that are planned, or never gets where the schedule leads.

    The plan is read from the loops around the step: rounds of ``range(epochs)`` times batches of the loader, or what a
    trainer of Lightning's, transformers' or ignite's says. Where it is not known, the steps that were seen take its
    place. Any rate counts, whoever sets it: schedules of torch, a ``LambdaLR``, or the script itself in
    ``param_groups``. Below a thousandth of the highest rate before `early` of the plan, or exactly zero before
    `early_zero`, and since for `after` steps or more, and for `tail` of the plan or as long as it acted before:
    ``suspected``. Where every loop around the step is known: a one-cycle
    schedule that was made for more than `longer` times the calls that there will be, stairs in batches that
    begin after the last call, and a warm-up that half of the plan leaves below `half_way` of the rate: ``suspected``.
    """
    schedules = [one for one in evidence.of(SchedulerSeen) if one.calls]
    for optimizer in evidence.of(OptimizerSeen):
        own = [one for one in schedules if one.of is not None and one.of == optimizer.where]
        gone = _gone(optimizer, own, limits)
        if gone is not None:
            yield gone
            continue
        if not own:
            yield from _low_by_hand(optimizer, limits)
        for schedule in own:
            found = _unreached(optimizer, schedule, limits)
            if found is not None:
                yield found


def _gone(optimizer: OptimizerSeen, own: list[SchedulerSeen], limits: Limits) -> Found | None:
    plan = max(optimizer.planned, optimizer.steps)
    since, last = optimizer.steps - optimizer.alive, max(optimizer.lrs, default=0.0)
    if not optimizer.alive or not optimizer.highest_lr > 0 or since < limits.after:
        return None
    if since < min(limits.tail * plan, optimizer.alive):  # the end of one cycle of several
        return None
    if optimizer.alive > (limits.early if last > 0 else limits.early_zero) * plan:
        return None
    schedule = max(own, key=lambda one: one.calls, default=None)
    if schedule is None and optimizer.rate_set is None:
        return None
    of_plan = f"{optimizer.alive} of {plan} steps" + (" planned" if optimizer.planned >= optimizer.steps else "")
    what = "The rate that the script sets"
    remedy = "Compute the rate for the number of steps that there are."
    if schedule is not None:
        often = "every batch" if schedule.per_iteration else f"{schedule.calls} times"
        what = f"{schedule.scheduler} is stepped {often}: the learning rate"
        remedy = (
            "Step it once an epoch, or make it for the number of batches in the whole run."
            if schedule.per_iteration
            else "Make it for the number of epochs that there are."
        )
    return Found(
        variant="gone-early",
        message=f"{what} is gone after {of_plan}: it has fallen from {optimizer.highest_lr:.1e} to {last:.1e}.",
        location=schedule.where if schedule is not None else optimizer.rate_set,
        numbers={
            "alive": optimizer.alive,
            "planned": plan,
            "steps": optimizer.steps,
            "highest": optimizer.highest_lr,
            "last": last,
        },
        remedy=remedy,
    )


def _unreached(optimizer: OptimizerSeen, schedule: SchedulerSeen, limits: Limits) -> Found | None:
    """Where does the schedule stand when the last planned step is done?"""
    plan = optimizer.planned
    if not optimizer.plan_is_exact or plan < optimizer.steps or schedule.moved_by_others:
        return None
    each = schedule.calls / max(1, schedule.optimizer_steps)  # calls a step
    calls = round(plan * each)
    if not schedule.per_iteration:  # once a pass, or now and then: only where passes were seen
        if schedule.calls < 2 or not schedule.iterations_per_epoch:
            return None
        calls = max(calls, optimizer.passes)
    numbers = {"planned": plan, "calls": schedule.calls, "calls_planned": calls, "horizon": schedule.horizon}
    if schedule.scheduler == "OneCycleLR" and schedule.horizon > limits.longer * max(1, calls):
        return Found(
            variant="never-completed",
            message=f"OneCycleLR was made for {schedule.horizon} steps; the training takes {plan} steps, and the "
            f"schedule {calls}: it ends at {calls / schedule.horizon:.0%} of its way.",
            location=schedule.made,
            numbers=numbers,
            remedy="Give it epochs and steps_per_epoch=len(loader), and step it after every batch.",
        )
    stairs = schedule.first_change
    if stairs and schedule.counts_batches and not schedule.per_iteration and stairs > limits.longer * max(1, calls):
        return Found(
            variant="never-falls",
            message=f"{schedule.scheduler} changes the rate after {stairs} calls, which are counted in batches; it is "
            f"called once in {1 / each:.0f} steps, {calls} times in all: the rate never changes.",
            location=schedule.where,
            numbers={**numbers, "first_change": stairs},
            remedy="Count its steps in epochs, or step it after every batch.",
        )
    intended = max(schedule.base, schedule.highest)
    half = schedule.optimizer_steps >= plan / 2 and schedule.optimizer_steps >= 4 * limits.after
    rising = schedule.last >= schedule.highest > schedule.lowest
    if half and rising and schedule.highest < limits.half_way * intended:
        return Found(
            variant="warming-up",
            message=f"After {schedule.optimizer_steps} of {plan} steps planned {schedule.scheduler} is still warming "
            f"up: the learning rate has reached {schedule.highest:.1e} of {intended:.1e}.",
            standing=Standing.SUSPECTED,
            location=schedule.where,
            numbers={**numbers, "highest": schedule.highest, "intended": intended},
            remedy="Step it after every batch, as its warm-up is counted in batches, or shorten the warm-up.",
        )
    return None


def _low_by_hand(optimizer: OptimizerSeen, limits: Limits) -> Iterator[Found]:
    """A warm-up that the script computes itself, in another unit than it is moved by."""
    last, plan = max(optimizer.lrs, default=0.0), optimizer.planned
    half = optimizer.plan_is_exact and optimizer.steps >= max(plan / 2, 4 * limits.after)
    first = max(optimizer.first_lrs, default=0.0)
    if not half or optimizer.rate_set is None or not last >= optimizer.highest_lr > first:
        return
    if optimizer.highest_lr < limits.half_way * optimizer.base_lr:
        yield Found(
            variant="warming-up",
            message=f"After {optimizer.steps} of {plan} steps planned the rate that the script sets still rises: it "
            f"has reached {optimizer.highest_lr:.1e} of the {optimizer.base_lr:.1e} that the optimiser was made with.",
            location=optimizer.rate_set,
            numbers={"planned": plan, "steps": optimizer.steps, "highest": optimizer.highest_lr},
            remedy="Count the warm-up in the unit in which the rate is set: passes, or batches.",
        )
