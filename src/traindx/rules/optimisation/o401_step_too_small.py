"""O401 step-too-small."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from traindx.evidence.base import Evidence
from traindx.evidence.observed_optim import ParameterGroupSeen, SchedulerSeen
from traindx.finding import Location, Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, Nothing, Threshold, rule


def _all_have_moved(evidence: Evidence, limits: Limits) -> Nothing | None:
    """One stage that moves says nothing of another that stands still."""
    groups = [one for one in evidence.of(ParameterGroupSeen) if max(one.gradient_norms, default=0.0) > 0]
    watched = [one for one in groups if len(one.update_ratios) >= limits.looks]
    if not watched:
        return Nothing("too few steps with a gradient were watched")
    for optimizer in {(one.where, one.optimizer): one for one in groups}.values():
        same = [one for one in groups if (one.where, one.optimizer) == (optimizer.where, optimizer.optimizer)]
        if max(one.moved for one in same) < limits.travel:
            place = f" of {optimizer.where}" if optimizer.where is not None else ""
            return Nothing(f"the weights that {optimizer.optimizer}{place} steps for hardly moved while it was watched")
    return None


@rule(
    "O401",
    "step-too-small",
    Severity.MAJOR,
    needs=(ParameterGroupSeen,),
    looked_at=_all_have_moved,
    ratio=Threshold(
        3e-6, "update over weight a step; Karpathy's rule of thumb is 1e-3, careful fine-tuning is at 1e-5 to 1e-4"
    ),
    unchanged=Threshold(0.5, "half of the weights are bit-identical after a step although their gradient is not 0"),
    travel=Threshold(
        0.01,
        "of its own size is how far a weight must have gone before its rate is called large enough: what stood "
        "still while it was watched may stand still to the end",
    ),
    looks=Threshold(4, "watched iterations with an update, so that one odd step decides nothing"),
)
def step_too_small(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The optimiser's steps are so small that the weights practically stay where they are.

    What it finds:
        An optimiser all of whose parameter groups move by less than `ratio` of their weights a step, at their largest,
        although gradients arrive; or weights that a step leaves bit-identical because their number format is too
        coarse for it.
    Why it stops learning:
        At 1e-6 a step, a weight needs a million steps to change by its own size. In bfloat16 an update below 0.4 % of
        a weight is rounded away altogether.
    Evidence it needs:
        ParameterGroupSeen (a watched script).
    How it decides:
        Largest median update-to-weight ratio over the watched iterations, for every group of an optimiser. It is
        `suspected`, since a careful fine-tuning may want it; it is `demonstrated` where more than `unchanged` of the
        weights are bit-identical after their steps. A rate that is still rising in a warm-up is left alone.
    Remedy:
        Raise the learning rate by factors of 10 until the ratio is near 1e-3; keep float32 master weights.
    Trial it proposes:
        `learning-rate` with factors 10 and 100.
    Known false positives:
        Deliberately tiny rates on a network that was trained before.
    References:
        Karpathy, CS231n notes, "Ratio of weights:updates", 2015.
    """
    by_optimizer: dict[tuple[Location | None, str], list[ParameterGroupSeen]] = {}
    for group in evidence.of(ParameterGroupSeen):
        by_optimizer.setdefault((group.where, group.optimizer), []).append(group)
    rising = any(
        schedule.last > 1.5 * max(schedule.lowest, 0.0) and schedule.last >= schedule.highest
        for schedule in evidence.of(SchedulerSeen)
    )
    for (where, name), groups in by_optimizer.items():
        moving = [
            group for group in groups if len(group.update_ratios) >= limits.looks and max(group.gradient_norms) > 0
        ]
        if not moving or rising:
            continue
        largest = max(max(group.update_ratios) for group in moving)
        unchanged = median(group.unchanged for group in moving)
        rounded = unchanged >= limits.unchanged
        if largest >= limits.ratio and not rounded:
            continue
        rate = max(group.largest_lr for group in moving)
        reason = (
            f"{100 * unchanged:.0f} % of the weights are bit-identical after a step: the update is rounded away"
            if rounded
            else f"a step changes the weights by {largest:.1e} of their size at most (about 1e-3 is usual)"
        )
        yield Found(
            message=f"With a learning rate of {rate:g}, {name}'s steps are too small: {reason}.",
            standing=Standing.DEMONSTRATED if rounded else Standing.SUSPECTED,
            location=where,
            numbers={"update_over_weight": largest, "learning_rate": rate, "unchanged": round(unchanged, 3)},
            remedy="Raise the learning rate by factors of 10 until the ratio is near 1e-3."
            + (" Keep the weights in float32." if rounded else ""),
            proposals=tuple(Proposal(treatment="learning-rate", parameters={"factor": k}) for k in (10.0, 100.0)),
        )
