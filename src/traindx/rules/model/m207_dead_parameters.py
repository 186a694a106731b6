"""M207 dead-parameters."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.model import SilentParameters
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "M207",
    "dead-parameters",
    Severity.MAJOR,
    needs=(SilentParameters,),
    least_share=Threshold(0.01, "1 % of the parameters: spare heads, tokens and Fourier features are smaller"),
    frozen_share=Threshold(0.1, "a tenth of the network: more than a random projection that is meant to be random"),
)
def dead_parameters(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A part of the network cannot learn: no gradient reaches it, or it is frozen as it was drawn.

    What it finds:
        Whole modules whose parameters never get a gradient although the loss depends on them (a `detach`, a
        `no_grad`, a rounding, an integer cast behind them), modules that the loss never uses, and modules that are
        frozen with random weights (an encoder whose checkpoint was never loaded).
    Why it stops learning:
        What those parameters compute stays what chance made it; the rest has to work around it.
    Evidence it needs:
        SilentParameters (check *gradients*).
    How it decides:
        The loss is differentiated on a fresh model in training mode whose zero-initialised gates were drawn again, up
        to six times with other seeds, so that dropped conditions get their turn. A module without any gradient is
        `demonstrated` if changing its weights changes the loss, if its weights are drawn at random, and if it holds
        more than `least_share` of the parameters. A module frozen with random weights that matter is `demonstrated`
        above `frozen_share`, `suspected` above `least_share`. Unused modules and pretrained ones are `suspected`, and
        so is a part above `frozen_share` that is frozen with weights from elsewhere and is never called.
        A copy of a trained part (a teacher, an average) is left alone.
    Remedy:
        Remove the `detach` or `no_grad` behind the module, or load the weights that it should have been frozen with.
    Trial it proposes:
        `add-parameters` in a watched script, where no optimiser holds them.
    Known false positives:
        Parts that are trained by other means (codebooks with moving averages) and held as parameters.
    References:
        None.
    """
    for part in evidence.of(SilentParameters):
        share = part.parameters / part.total
        if share < limits.least_share or part.duplicate:
            continue
        name = part.module or "the whole model"
        size = f"{part.parameters:,} parameters, {100 * share:.0f} % of the model"
        standing = Standing.SUSPECTED
        if part.frozen:
            if not part.matters and not part.random and not part.ran and share >= limits.frozen_share:
                yield _carried_along(name, size, part)
                continue
            if not part.random or not part.matters:
                continue
            if share >= limits.frozen_share:
                standing = Standing.DEMONSTRATED
            message = (
                f"{name} ({size}) is frozen with the random weights it was built with, and the loss depends on it."
            )
            remedy = f"Load the weights {name} should have, check how many tensors arrived, or let it train."
        elif part.matters:
            if part.random:
                standing = Standing.DEMONSTRATED
            message = f"No gradient reaches {name} ({size}), although the loss changes with its weights."
            remedy = "Look behind it for detach(), no_grad, a rounding or an integer cast on the way to the loss."
        else:
            message = f"{name} ({size}) never takes part in the loss: changing its weights changes nothing."
            remedy = f"Use {name} or remove it; if it is a branch that was meant to be on, find the switch."
        yield Found(
            message=message,
            standing=standing,
            severity=None if part.matters else Severity.MINOR,
            location=part.where,
            numbers={"parameters": part.parameters, "share": round(share, 5), "ran": part.ran},
            remedy=remedy,
        )


def _carried_along(name: str, size: str, part: SilentParameters) -> Found:
    return Found(
        message=f"{name} ({size}) is frozen with weights from elsewhere, and is never called while the loss is "
        "computed: what it would say reaches nothing that learns.",
        severity=Severity.MINOR,
        location=part.where,
        numbers={"parameters": part.parameters, "ran": part.ran},
        remedy=f"Follow its output: is {name} called, and is what it returns given to the part that learns?",
    )
