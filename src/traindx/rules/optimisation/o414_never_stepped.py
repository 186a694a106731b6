"""O414 step-changes-nothing, where no step is taken at all."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed import Ending, IterationsSeen, ScriptRun
from traindx.evidence.observed_optim import OptimizerSeen, ParameterSeen
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "O414",
    "step-changes-nothing",
    Severity.CRITICAL,
    needs=(IterationsSeen, OptimizerSeen, ParameterSeen),
    looked_at=requires(IterationsSeen, lambda one, limits: one.backwards > 0, otherwise="no backward pass was seen"),
    passes_back=Threshold(100, "backward passes; gradients are rarely accumulated over more"),
)
def never_stepped(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Gradients are computed, an optimiser was made, and none ever takes a step.

    At least `passes_back` backward passes, an optimiser, no step of any, and no weight that changed by other means:
    `demonstrated` in a script that came to its end, else `suspected`.
    """
    seen = evidence.last(IterationsSeen)
    optimisers = list(evidence.of(OptimizerSeen))
    if seen is None or seen.optimizers or seen.backwards < limits.passes_back or not optimisers:
        return
    if any(one.steps for one in optimisers) or any(one.by_hand or one.moved for one in evidence.of(ParameterSeen)):
        return
    ended = evidence.last(ScriptRun)
    whole = ended is not None and ended.ending is Ending.FINISHED and not ended.window_ended
    made = optimisers[-1]
    yield Found(
        variant="never-stepped",
        message=f"{seen.backwards} backward passes and not one step: {made.optimizer} is made here, its step() is "
        "never called, and no weight has changed.",
        standing=Standing.DEMONSTRATED if whole else Standing.SUSPECTED,
        location=made.where,
        numbers={"backwards": seen.backwards},
        remedy="Call optimizer.step() after backward().",
    )
