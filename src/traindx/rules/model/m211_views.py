"""M211 inputs-symmetric, for views that are averaged in a watched script."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_loss import LossCall
from traindx.evidence.probed import ViewsMerged
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, requires, rule

_FLAT = 3  # channels, height, width
_VOLUME = 5  # batch, channels, depth, height, width


@rule(
    "M211",
    "inputs-symmetric",
    Severity.MAJOR,
    needs=(ViewsMerged,),
    looked_at=requires(ViewsMerged, lambda one, limits: one.training, thing="views that are merged"),
)
def views_averaged(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The same for views in one tensor: encoded one by one by one network and averaged, where a volume is wanted.

    Exchanging them changes exactly nothing, by construction. `suspected`, and only where two-dimensional views are to
    give a volume: a label, or an image of the same plane, may well be the same for views in any order.
    """
    volumes = any(len(call.target_shape) == _VOLUME for call in evidence.of(LossCall))
    for record in evidence.of(ViewsMerged):
        if not record.training or len(record.image) != _FLAT or not volumes:
            continue
        yield Found(
            variant="views-averaged",
            message=f"The {record.views} views of a sample go through one encoder one by one, and {record.reduction}() "
            "merges them: exchanging them changes exactly nothing, so nothing after it can know from which side an "
            "image was taken.",
            location=record.where,
            numbers={"views": record.views, "effect_of_swap": 0.0},
            remedy="Keep the views apart (as channels, or with an embedding of the view added before they are merged), "
            "and lift each along its own axis.",
        )
