"""O410 ema-stale-or-evaluated-too-early."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.deployment import DeployedWeights
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "O410",
    "ema-stale-or-evaluated-too-early",
    Severity.CRITICAL,
    needs=(DeployedWeights,),
    twins=Threshold(0.9, "share of the other parameters that have a trained one of their shape: a copy of the network"),
    moved=Threshold(0.5, "share of the trained tensors that moved, so that there was a training at all"),
)
def ema_evaluated_too_early(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Predictions are made with a copy of the weights that training does not reach.

    What it finds:
        Averaged weights (EMA, SWA) that are evaluated before averaging has begun, or are never updated; a frozen copy
        of the network left in the prediction path.
    Why it stops learning:
        The network learns, and validation, checkpoint selection and deployment see the weights of step 0.
    Evidence it needs:
        DeployedWeights (check *deployed-weights*).
    How it decides:
        After training, the parameters that the optimiser moves are changed: the prediction stays bit-identical. The
        others are changed: it follows. They are a copy of the network (`twins`). `demonstrated` if they are also
        bit-identical to those of a fresh model, else `suspected`.
    Remedy:
        Update the average from the first step, with a decay that warms up; evaluate it only once it exists.
    Trial it proposes:
        `copy-statistics` for running statistics; else none: predict with the trained weights and compare.
    Known false positives:
        A frozen teacher that predicts on purpose.
    References:
        Post-mortem of the surface segmentation: averaged weights were validated before averaging started.
    """
    for record in evidence.of(DeployedWeights):
        if record.follows_trained or not record.follows_others or record.twins < limits.twins:
            continue
        if not record.trained_moved >= limits.moved:
            continue
        untouched = record.unmoved == 1.0
        tail = "which is bit-identical to a fresh model's" if untouched else "which the optimiser does not move"
        yield Found(
            message="The prediction does not change with the trained weights. It is made with a copy of the network, "
            f"{tail}: what is evaluated was never trained.",
            standing=Standing.DEMONSTRATED if untouched else Standing.SUSPECTED,
            location=record.where,
            numbers={
                "copy_share": record.twins,
                "unmoved_share": record.unmoved,
                "trained_moved_share": record.trained_moved,
            },
            remedy="Begin averaging at once with a decay that warms up, and evaluate the average only once it exists.",
        )
