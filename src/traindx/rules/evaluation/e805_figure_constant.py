"""E805 best-checkpoint-criterion-broken, for a figure that no model changes."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.deployment import RepeatedSelection
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, requires, rule


@rule(
    "E805",
    "best-checkpoint-criterion-broken",
    Severity.MAJOR,
    needs=(RepeatedSelection,),
    looked_at=requires(
        RepeatedSelection,
        lambda record, limits: len(record.models) >= 2,
        otherwise="the selecting figure was asked of one model only",
    ),
)
def selecting_figure_is_constant(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The figure that selects is the same for two models that share no weight.

    ``demonstrated`` where the case's own validation gives two models from different seeds, whose zero-initialised parts
    were drawn again, the same figure to the last bit: an accumulator that is never filled, a placeholder.
    """
    for record in evidence.of(RepeatedSelection):
        if len(set(record.models)) != 1 or len(record.models) < 2:
            continue
        yield Found(
            message=f"{record.figure!r}, which chooses the best checkpoint, is {record.models[0]:.4g} for two models "
            "that share no weight: nothing that a model says reaches it.",
            standing=Standing.DEMONSTRATED,
            location=record.where,
            numbers={"value": record.models[0]},
            remedy="Follow the figure back to the predictions: is its accumulator ever filled?",
        )
