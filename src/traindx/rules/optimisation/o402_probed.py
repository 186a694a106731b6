"""O402 step-too-large, from the loss of the same batch before and after its step."""

from __future__ import annotations

import math
from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed import LossSeries
from traindx.evidence.probed import StepProbed
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule
from traindx.rules.optimisation._shared import ends, lower_rates


def judged(one: StepProbed) -> bool:
    """A step whose effect on the loss of its own batch means something."""
    return one.alone and one.owns and one.lr > 0 and one.before > 0


def raised_by_steps(evidence: Evidence, limits: Limits) -> list[StepProbed]:
    """Steps that raised the loss of their own batch, if most of those looked at did and nothing improved."""
    steps = [one for one in evidence.of(StepProbed) if judged(one)]
    leaps = [one for one in steps if not one.after <= limits.leap * one.before]
    raised = [one for one in steps if not one.after <= limits.rise * one.before]
    if not leaps and (len(raised) < limits.rises or 2 * len(raised) <= len(steps)):
        return []
    series = next((one for one in evidence.of(LossSeries) if one.where == raised[0].where), None)
    if series is None or series.first_nonfinite >= 0:
        return raised
    last = ends(series.values)[1]
    return raised if math.isnan(last) or last >= 0.9 * series.values[0] else []


@rule(
    "O402",
    "step-too-large",
    Severity.MAJOR,
    needs=(StepProbed,),
    looked_at=requires(
        StepProbed,
        lambda one, limits: judged(one),
        otherwise="no step of a single network, backward pass and optimiser could be repeated with its own batch",
        least=2,
    ),
    rise=Threshold(1.5, "loss after over before; with momentum and dropout healthy first steps stayed below 1.1"),
    rises=Threshold(2, "steps, since one may be odd"),
    leap=Threshold(10, "loss after over before that a single step may not reach; dead units can hide what follows"),
)
def step_raises_own_loss(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A step makes the loss of the very batch that it was computed from larger.

    After a step the batch is passed once more through a twin of the network with the new weights, in the same mode
    and with the same random numbers, and the loss is computed by the script's own operations. If it rose by more than
    a factor of `rise` in most of the steps looked at, `rises` at least, or by a factor of `leap` in one, and the loss
    of the run has not improved (or is not finite), it is `demonstrated`. Iterations with several networks, backward
    passes or optimisers are not judged.

    What a step adds beyond its slope grows with the square of the rate, so the loss no longer rises at a rate that is
    lower by the root of the rise; that power of ten and the next lower one are tried.
    """
    raised = raised_by_steps(evidence, limits)
    if not raised:
        return
    worst = max(raised, key=lambda one: one.after if math.isfinite(one.after) else math.inf)
    broken = any(series.first_nonfinite >= 0 for series in evidence.of(LossSeries)) or not math.isfinite(worst.after)
    yield Found(
        variant="raises-own-loss",
        message=f"A step of {worst.optimizer} with a learning rate of {worst.lr:g} raises the loss of its own batch "
        f"from {worst.before:.3g} to {worst.after:.3g}: it jumps over what it aims at.",
        standing=Standing.DEMONSTRATED,
        severity=Severity.CRITICAL if broken else None,
        location=worst.made or worst.where,
        numbers={"before": worst.before, "after": worst.after, "learning_rate": worst.lr, "steps": len(raised)},
        remedy="Lower the learning rate by factors of 10 until a step lowers the loss of its own batch; normalise the "
        "targets if they are far from 1.",
        proposals=lower_rates(math.sqrt(worst.before / worst.after) if math.isfinite(worst.after) else 0.01),
    )
