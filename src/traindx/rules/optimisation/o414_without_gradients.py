"""O414 step-changes-nothing, where no gradient ever arrives at what an optimiser holds."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_optim import OptimizerSeen, ParameterGroupSeen
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "O414",
    "step-changes-nothing",
    Severity.CRITICAL,
    needs=(OptimizerSeen, ParameterGroupSeen),
    looked_at=requires(
        ParameterGroupSeen,
        lambda one, limits: len(one.gradient_norms) >= limits.gradient_looks,
        otherwise="gradients of an optimiser's parameters were looked at too rarely",
    ),
    gradient_looks=Threshold(5, "steps at which the gradients were looked at"),
    steps_without=Threshold(20, "steps; an optimiser may wait for its turn at the beginning"),
)
def steps_without_gradients(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """An optimiser takes step after step, and no gradient ever arrives at any weight that it holds.

    A loss was differentiated before its steps, of which there were `steps_without` at least, and at each of
    `gradient_looks` looks or more the gradients of all its parameters are zero or absent: it holds weights that are not
    those that the loss depends on. `demonstrated`.
    """
    for optimizer in evidence.of(OptimizerSeen):
        groups = [
            one
            for one in evidence.of(ParameterGroupSeen)
            if (one.where, one.optimizer) == (optimizer.where, optimizer.optimizer) and one.elements
        ]
        looks = min((len(one.gradient_norms) for one in groups), default=0)
        if looks < limits.gradient_looks or optimizer.steps < limits.steps_without:
            continue
        if not any(optimizer.backwards_per_step) or any(any(one.gradient_norms) for one in groups):
            continue
        yield Found(
            variant="without-gradients",
            message=f"{optimizer.steps} steps of this {optimizer.optimizer}, and no gradient at any of its "
            f"{optimizer.parameters} tensors in {looks} looks: what it holds is not what the loss depends on.",
            standing=Standing.DEMONSTRATED,
            location=optimizer.where,
            numbers={"steps": optimizer.steps, "looks": looks, "tensors": optimizer.parameters},
            remedy="Make the optimiser from the parameters of the network as it is trained: after it was wrapped or "
            "copied, and with the loss computed from that network.",
        )
