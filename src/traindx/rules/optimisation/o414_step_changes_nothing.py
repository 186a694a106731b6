"""O414 step-changes-nothing."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.probed import StepProbed
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "O414",
    "step-changes-nothing",
    Severity.CRITICAL,
    needs=(StepProbed,),
    looked_at=requires(
        StepProbed,
        lambda one, limits: one.alone and one.lr > 0,
        otherwise="no step of a single network, backward pass and optimiser could be repeated with its own batch",
        least=2,
    ),
    unmoved_steps=Threshold(2, "steps after which the network gave the same numbers"),
)
def step_changes_nothing(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The optimiser steps, and the network that is trained gives exactly the same as before.

    What it finds:
        An optimiser that holds the parameters of another object: the network was copied, rebuilt or replaced after the
        optimiser was made.
    Why it stops learning:
        Gradients are computed for one set of tensors and steps are taken with another.
    Evidence it needs:
        StepProbed (a watched script).
    How it decides:
        After at least `unmoved_steps` steps with a learning rate above zero the same batch is passed through the
        network again: the output is equal, number for number, although a loss was computed from it, and the optimiser
        holds none of the network's parameters. `demonstrated`.
    Remedy:
        Make the optimiser after the network is complete, from the parameters of the very object that is called.
    Trial it proposes:
        None; fix it.
    Known false positives:
        None known; scripts with several optimisers are not judged.
    References:
        PyTorch documentation of `torch.optim`, "Constructing it".
    """
    steps = [one for one in evidence.of(StepProbed) if one.alone and one.lr > 0]
    still = [one for one in steps if one.moved == 0.0 and not one.owns]
    if len(still) < limits.unmoved_steps or len(still) < len(steps):
        return
    one = still[0]
    yield Found(
        variant="other-parameters",
        message=f"{one.optimizer} holds none of the parameters of the {one.network} that computes the loss: after its "
        "steps the network gives exactly the same as before.",
        standing=Standing.DEMONSTRATED,
        location=one.made or one.where,
        numbers={"steps": len(still)},
        remedy=f"Make {one.optimizer} from the parameters of the object that is called, after it was copied or built.",
    )
