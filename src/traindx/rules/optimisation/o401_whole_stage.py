"""O401 step-too-small, over the whole life of an optimiser in a watched script."""

from __future__ import annotations

import math
from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed import Ending, IterationsSeen, LossSeries, ScriptRun
from traindx.evidence.observed_optim import OptimizerSeen, ParameterGroupSeen
from traindx.evidence.observed_state import WeightsLoaded
from traindx.finding import Proposal, Severity
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "O401",
    "step-too-small",
    Severity.MAJOR,
    needs=(OptimizerSeen, ParameterGroupSeen, ScriptRun),
    looked_at=requires(
        ScriptRun,
        lambda run, limits: run.ending is Ending.FINISHED and not run.window_ended,
        otherwise="the script did not run to its end, so it is not known how far its weights would have gone",
    ),
    whole_travel=Threshold(
        0.01,
        "of their size that weights go in all steps of a stage; the slowest stage of a program that learned from "
        "scratch was at 0.03 in 32 steps",
    ),
    whole_steps=Threshold(30, "steps of the optimiser; fewer are a try whether the program runs at all"),
    whole_fall=Threshold(0.1, "relative fall of some loss that shows that these steps teach it something"),
)
def whole_stage_goes_nowhere(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The same for a stage that was seen from its first step to its last: the weights end where they began.

    Of an adaptive optimiser, whose steps are as long as its rates, every parameter group has gone less than
    `whole_travel` of its size when the script has ended by itself, no file changed a weight before, and the
    loss did not fall by `whole_fall` while it was at work. `suspected`: a stage of the same rates with many more steps
    may get somewhere.
    """
    run = evidence.last(ScriptRun)
    if run is None or run.ending is not Ending.FINISHED or run.window_ended:
        return
    for optimizer, first, last in _stages(evidence):
        if any(load.changed and load.iteration < last for load in evidence.of(WeightsLoaded)):
            continue  # trained before; the best state is loaded when all is over
        if any(_fall(series, first, last) > limits.whole_fall for series in evidence.of(LossSeries)):
            continue
        groups = [one for one in evidence.of(ParameterGroupSeen) if one.where == optimizer.where]
        moving = [one for one in groups if max(one.gradient_norms, default=0.0) > 0]
        if not optimizer.adaptive or optimizer.steps < limits.whole_steps or not moving:
            continue
        if not all(one.moved < limits.whole_travel for one in groups):  # also where weights are no numbers any more
            continue
        rates = ", ".join(f"{rate:g}" for rate in dict.fromkeys(one.largest_lr for one in moving))
        farthest = max(one.moved for one in moving)
        yield Found(
            variant="whole-stage",
            message=f"All {optimizer.steps} steps of this {optimizer.optimizer}, at learning rates of {rates}, move "
            f"the weights by {100 * farthest:.2g} % of their size: the stage ends where it began.",
            location=optimizer.where,
            numbers={
                "steps": optimizer.steps,
                "moved": farthest,
                "largest_rate": max(one.largest_lr for one in moving),
            },
            remedy="Raise the rates by factors of 10 until a stage moves the weights by a tenth of their size or more, "
            "or plan many more steps.",
            proposals=tuple(Proposal(treatment="learning-rate", parameters={"factor": k}) for k in (10.0, 100.0)),
        )


def _stages(evidence: Evidence) -> Iterator[tuple[OptimizerSeen, int, int]]:
    """Optimisers that followed each other, each with its first iteration and the one after its last."""
    optimizers, seen = evidence.of(OptimizerSeen), evidence.last(IterationsSeen)
    if seen is None or sum(one.steps for one in optimizers) != seen.iterations:
        return  # several at work at the same time
    first = 0
    for one in optimizers:
        yield one, first, first + one.steps
        first += one.steps


def _fall(series: LossSeries, first: int, last: int) -> float:
    """Relative fall of a loss from the first quarter of some iterations to the last."""
    pairs = zip(series.iterations, series.values, strict=False)
    values = [value for iteration, value in pairs if first <= iteration < last and math.isfinite(value)]
    if len(values) < 8:
        return 0.0
    part = len(values) // 4
    before, after = sum(values[:part]) / part, sum(values[-part:]) / part
    return (before - after) / abs(before) if before else 0.0
