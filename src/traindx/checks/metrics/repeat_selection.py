"""The figure that chooses the best checkpoint, asked of one fixed model several times."""

from __future__ import annotations

from traindx.checks.base import CheckContext, check
from traindx.checks.probing import awake_model, other_awake_model
from traindx.core.frames import defined_at
from traindx.core.undisturbed import in_mode, undisturbed
from traindx.evidence.deployment import RepeatedSelection

PASSES = 6


@check(
    "repeat-selection",
    "does the figure that selects give a fixed model the same value each time",
    needs=("deployment.validate", "deployment.selects"),
    gives=(RepeatedSelection,),
)
def repeat_selection(ctx: CheckContext) -> None:
    """Validate a fresh model by the case's own function, each time with another random state; then two other models."""
    deployment = ctx.case.deployment
    assert deployment is not None
    assert deployment.validate is not None
    model = ctx.fresh_model()
    values = []
    for number in range(PASSES):
        with in_mode(model, training=False), undisturbed(ctx.seed + number):
            figures = deployment.validate(model)
        if deployment.selects in figures:
            values.append(float(figures[deployment.selects]))
    if len(values) < PASSES:
        return
    models = []
    for other in (awake_model(ctx), other_awake_model(ctx)):
        with in_mode(other, training=False), undisturbed(ctx.seed):
            models.append(float(deployment.validate(other)[deployment.selects]))
    ctx.record(
        RepeatedSelection(
            where=defined_at(deployment.validate), figure=deployment.selects, values=tuple(values), models=tuple(models)
        )
    )
