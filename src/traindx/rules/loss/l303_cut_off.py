"""L303 term-without-gradient, where the whole loss is cut off from the network."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_loss import LossCutOff
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "L303",
    "term-without-gradient",
    Severity.MAJOR,
    needs=(LossCutOff,),
    thing="backward passes on a tensor that is no result",
    cut_passes=Threshold(2, "backward passes, so that an odd one decides nothing"),
)
def loss_cut_off(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """`backward` is called on a tensor that is not the result of anything.

    A loss that was wrapped anew (``Variable(loss.data, requires_grad=True)``, ``torch.tensor(loss.item(), ...)``,
    ``loss.detach().requires_grad_()``) has no graph behind it: `backward` runs without an error and reaches nothing.
    `demonstrated` from `cut_passes` passes on, placed where the value was taken out of its graph if that was seen.
    """
    for record in evidence.of(LossCutOff):
        if record.passes < limits.cut_passes:
            continue
        cut = f" (.{record.how})" if record.how else ""
        yield Found(
            variant="loss-cut-off",
            message=f"backward() is called on a tensor that was cut off from the network{cut}: it runs without an "
            "error and no parameter gets a gradient.",
            standing=Standing.DEMONSTRATED,
            severity=Severity.CRITICAL,
            location=record.cut or record.where,
            numbers={"passes": record.passes},
            remedy="Call backward() on the loss itself; do not wrap it in a new tensor.",
        )
