"""O407 scheduler-misused."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed import IterationsSeen
from traindx.evidence.observed_optim import ScalerSeen, SchedulerSeen
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Nothing, Threshold, rule
from traindx.rules.optimisation._shared import finished, times

IDLE_CALLS = 5  # calls beside an optimiser at rest; fewer are a start


def _something_stepped(evidence: Evidence, limits: Limits) -> Nothing | None:
    """A schedule that nothing steps is judged by that; any other by its calls beside the steps of an optimiser."""
    iterations = _iterations(evidence)
    for schedule in evidence.of(SchedulerSeen):
        beside = schedule.optimizer_steps > 0 or schedule.idle_calls >= IDLE_CALLS
        if (schedule.calls and beside) or (finished(evidence) and _never(schedule, iterations) is not None):
            return None
    return Nothing("no schedule took a step beside an optimiser")


@rule(
    "O407",
    "scheduler-misused",
    Severity.MAJOR,
    needs=(SchedulerSeen,),
    looked_at=_something_stepped,
    overrun=Threshold(1.2, "calls over the number that the schedule was made for; off-by-one habits stay below"),
    reached=Threshold(0.25, "highest rate over the intended one at the end of the run"),
    passes=Threshold(2, "passes that the schedule was made for; with one, batches and passes cannot be told apart"),
    idle=Threshold(0.95, "share of its calls before which its optimiser rested; a generator rests 4 times in 5"),
    short=Threshold(200, "iterations; a shorter run is a trial, which no warm-up is made for"),
)
def scheduler_misused(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The learning-rate schedule is stepped too often, too rarely, too early or never.

    What it finds:
        A schedule made for a number of epochs but stepped every batch; a decay that has killed the rate within the
        first passes; a schedule that is still in its warm-up when the run ends; one that is never stepped; one that is
        stepped before the optimiser; one made for all batches of the run but moved on by epochs; one that belongs to an
        optimiser which no longer steps.
    Why it stops learning:
        The rate is near zero for most of the run, or goes up and down, or never arrives where it should.
    Evidence it needs:
        SchedulerSeen; ScriptRun for runs that ended by themselves (a watched script).
    How it decides:
        Calls against the length that the schedule was made for (`T_max`, `total_iters`, the last milestone), whether it
        is called once an iteration, and the rate after every call. A cosine that rises again after its end is
        `demonstrated`; so is a first call before the first optimiser step, unless a gradient scaler left that step out.
        A schedule that was never stepped in a run that finished is `demonstrated`, unless something else moves the
        rate, or the script has a line that steps it and that a longer run may reach (weight averaging that begins
        late). A warm-up that had not ended when the run did is `demonstrated` where it is stepped so rarely that it had
        to last; a run that is short of its warm-up is `suspected` after `short` iterations, and no fault below. A
        schedule whose length is computed from the number of batches, and is `passes` times that of a pass or more, but
        that has moved on by no more than one a pass over two passes or more, is `demonstrated`.
    Remedy:
        Step once an epoch, or make the schedule for the number of batches; call it after the optimiser.
    Trial it proposes:
        The patch that `traindx fix` shows, where the line allows one.
    Known false positives:
        A cosine that is meant to go up and down: use `CosineAnnealingWarmRestarts`, which is left alone.
    References:
        PyTorch documentation, "How to adjust learning rate".
    """
    skipped = any(scaler.skipped for scaler in evidence.of(ScalerSeen))
    for schedule in evidence.of(SchedulerSeen):
        problem = _idle(schedule, limits) or _overrun(schedule, limits) or _by_epochs(schedule, limits)
        if problem is None and finished(evidence):
            count = _iterations(evidence)
            problem = _never(schedule, count) or _stuck(schedule, count, limits)
        if problem is None and schedule.before_optimizer and not skipped and schedule.optimizer_steps:
            problem = Found(
                variant="before-the-optimiser",
                message=f"{schedule.scheduler}.step() is called before the optimiser's first step, so the first "
                f"learning rate is skipped.",
                standing=Standing.DEMONSTRATED,
                severity=Severity.MINOR,
                location=schedule.where,
                numbers={"calls_before": schedule.before_optimizer},
                remedy="Call scheduler.step() after optimizer.step().",
            )
        if problem is not None:
            yield problem


def _iterations(evidence: Evidence) -> int:
    seen = evidence.of(IterationsSeen)
    return seen[-1].iterations if seen else 0


def _idle(schedule: SchedulerSeen, limits: Limits) -> Found | None:
    """It moves the rate of an optimiser that does not train."""
    if schedule.idle_calls < IDLE_CALLS or schedule.idle_calls < limits.idle * schedule.calls:
        return None
    return Found(
        variant="of-another-optimiser",
        message=f"{schedule.scheduler} moves the learning rate of an optimiser that takes no steps: in "
        f"{schedule.idle_calls} of {schedule.calls} calls another optimiser had stepped since the call before, and its "
        "own had not. The rate that acts is not scheduled.",
        standing=Standing.DEMONSTRATED,
        location=schedule.made or schedule.where,
        numbers={"idle_calls": schedule.idle_calls, "calls": schedule.calls, "steps": schedule.optimizer_steps},
        remedy="Make the schedule after the optimiser that trains, and give it that one.",
    )


def _often(schedule: SchedulerSeen) -> str:
    return "every batch" if schedule.per_iteration else times(schedule.calls, "time")


def _overrun(schedule: SchedulerSeen, limits: Limits) -> Found | None:
    """A cosine beyond its end rises again."""
    over = schedule.horizon > 0 and schedule.calls > limits.overrun * schedule.horizon + 1
    rises = (
        schedule.highest > 0
        and schedule.last > 2 * schedule.lowest + 1e-12
        and schedule.lowest < 0.1 * schedule.highest
    )
    if schedule.scheduler != "CosineAnnealingLR" or not over or (not rises and not _swings(schedule)):
        return None
    return Found(
        message=f"CosineAnnealingLR was made for {schedule.horizon} steps and is stepped {_often(schedule)} "
        f"({schedule.calls} times): the learning rate falls to {schedule.lowest:.1e} and rises again, over and over.",
        standing=Standing.DEMONSTRATED,
        location=schedule.where,
        numbers={"T_max": schedule.horizon, "calls": schedule.calls, "lowest": schedule.lowest, "last": schedule.last},
        remedy="Step it once an epoch, or make T_max the number of batches in the whole run.",
    )


def _swings(schedule: SchedulerSeen) -> bool:
    """The rate went down to a tenth and came back at least once."""
    down = False
    for rate in schedule.lrs:
        if rate < 0.1 * schedule.highest:
            down = True
        elif down and rate > 0.5 * schedule.highest:
            return True
    return False


def _by_epochs(schedule: SchedulerSeen, limits: Limits) -> Found | None:
    """Its length counts batches, and it moves by epochs."""
    per_pass = schedule.iterations_per_epoch
    if not schedule.counts_batches or schedule.moved_by_others or per_pass < 4 or schedule.calls < 2:
        return None
    if schedule.epochs < 2 or schedule.horizon < limits.passes * per_pass or schedule.position > schedule.epochs + 1:
        return None
    if schedule.optimizer_steps < per_pass * (schedule.epochs - 1):
        return None
    how = "stepped once an epoch" if schedule.calls <= schedule.epochs + 1 else "set to the number of the epoch"
    return Found(
        variant="by-epochs",
        message=f"{schedule.scheduler} was made for {schedule.horizon} batches ({schedule.horizon / per_pass:.3g} "
        f"passes of {per_pass}) and is {how}: after {schedule.optimizer_steps} batches it stands at step "
        f"{schedule.position}, and the learning rate at {schedule.last:.1e}.",
        standing=Standing.DEMONSTRATED,
        location=schedule.where,
        numbers={"horizon": schedule.horizon, "position": schedule.position, "steps": schedule.optimizer_steps},
        remedy="Step it after every batch without an argument, or make it for the number of epochs.",
    )


def _never(schedule: SchedulerSeen, iterations: int) -> Found | None:
    if schedule.calls or (iterations < 20 and schedule.epochs < 2):
        return None
    if schedule.moved_by_others or schedule.step_not_reached:
        return None
    return Found(
        message=f"{schedule.scheduler} is constructed but never stepped: the learning rate stays at {schedule.last:g}.",
        standing=Standing.DEMONSTRATED,
        location=schedule.made,
        numbers={"calls": 0, "learning_rate": schedule.last},
        remedy="Call scheduler.step() once an epoch (or once a batch, if it was made for batches).",
    )


def _stuck(schedule: SchedulerSeen, iterations: int, limits: Limits) -> Found | None:
    """The run ended while the rate was still on its way up."""
    intended = max(schedule.base, schedule.highest)
    if not schedule.calls or schedule.last < schedule.highest or schedule.highest >= limits.reached * intended:
        return None
    once_a_pass = abs(schedule.calls - schedule.epochs) <= 1
    rarely = not schedule.per_iteration and not once_a_pass and 4 * schedule.calls < schedule.warmup <= iterations
    if schedule.moved_by_others or (not rarely and iterations < limits.short):
        return None
    of_warmup = f" of {schedule.warmup} warm-up" if schedule.warmup else ""
    return Found(
        message=f"The run ended after {schedule.calls}{of_warmup} steps of {schedule.scheduler}, still warming up: the "
        f"learning rate never exceeded {schedule.highest:.1e} of {intended:.1e}.",
        standing=Standing.DEMONSTRATED if rarely else Standing.SUSPECTED,
        location=schedule.made,
        numbers={"calls": schedule.calls, "warmup": schedule.warmup, "highest": schedule.highest, "intended": intended},
        remedy="Step the schedule every batch, as it was made for batches, or shorten the warm-up."
        if rarely
        else "Shorten the warm-up, or train longer.",
    )
