"""E827 threshold-on-logits."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_evaluation import OutputThreshold
from traindx.evidence.observed_loss import LossCall
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, Threshold, requires, rule

OF_LOGITS = ("binary_cross_entropy_with_logits", "multilabel_soft_margin_loss")


@rule(
    "E827",
    "threshold-on-logits",
    Severity.MAJOR,
    needs=(OutputThreshold, LossCall),
    looked_at=requires(
        LossCall, lambda one, limits: one.function in OF_LOGITS, otherwise="no loss was seen that takes logits"
    ),
    thing="outputs compared with a number between 0 and 1",
    beyond=Threshold(0.5, "below 0 or above 1: a residual that was added to a probability stays nearer"),
)
def threshold_on_logits(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """In evaluation logits are compared with a threshold that is meant for probabilities.

    What it finds:
        `predicted = model(x) > 0.5` in a network that is trained by `BCEWithLogitsLoss`: the sigmoid is missing.
    Why it stops learning:
        It does not; but a logit of 0.5 is a probability of 0.62: masks come out too small and findings are missed.
    Evidence it needs:
        OutputThreshold, LossCall (a watched script).
    How it decides:
        What the network gave, untouched but for its shape, is compared with a number between 0 and 1 in evaluation,
        reaches at least `beyond` below 0 or above 1, and the training has a loss that takes logits: `suspected`.
    Remedy:
        Compare `output.sigmoid()` with the threshold, or the logit with 0.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A threshold on logits that was chosen as one.
    References:
        PyTorch documentation, `torch.nn.BCEWithLogitsLoss`.
    """
    if not any(one.function in OF_LOGITS for one in evidence.of(LossCall)):
        return
    for one in evidence.of(OutputThreshold):
        if one.low >= -limits.beyond and one.high <= 1 + limits.beyond:
            continue
        yield Found(
            message=f"The outputs of {one.network} are logits, from {one.low:.2g} to {one.high:.2g}, and are compared "
            f"with {one.threshold:g} as if they were probabilities.",
            location=one.where,
            numbers={"threshold": one.threshold, "low": one.low, "high": one.high, "calls": one.calls},
            remedy="Put a sigmoid before it; a probability of 0.5 is a logit of 0.",
        )
