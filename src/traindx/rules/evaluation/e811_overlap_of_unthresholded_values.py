"""E811 overlap-of-unthresholded-values."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.deployment import HardenedScore
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "E811",
    "overlap-of-unthresholded-values",
    Severity.MAJOR,
    needs=(HardenedScore,),
    difference=Threshold(
        0.005, "a hundredth of a Dice is argued about; probabilities of a good network differ by more"
    ),
)
def overlap_of_unthresholded_values(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Dice, IoU or F1 is computed of probabilities or logits, not of the mask that they become.

    What it finds:
        A metric named after an overlap of sets whose value changes when the predictions are replaced by their own mask.
    Why it stops learning:
        It does not; but the figure is another one than that of the deployed mask: too low for a hesitant network, above
        one for logits, and it rewards certainty instead of shape.
    Evidence it needs:
        HardenedScore (check *hardened-metric*).
    How it decides:
        The trained model's predictions are scored as they are and as masks (likeliest class, or 0.5). `demonstrated` if
        the two differ by more than `difference`.
    Remedy:
        Threshold, or take the likeliest class, before the metric; keep the soft overlap for the loss and call it soft.
    Trial it proposes:
        None; both figures are in the message.
    Known false positives:
        A threshold other than one half that is applied inside the metric; metrics whose name says soft are left alone.
    References:
        Maier-Hein et al., Metrics reloaded, Nature Methods 21:195, 2024 (counting metrics take decisions, not scores).
    """
    for record in evidence.of(HardenedScore):
        if abs(record.as_is - record.hardened) <= limits.difference:
            continue
        yield Found(
            message=f"The metric {record.metric!r} is {record.as_is:.4f} for the predictions as they are and "
            f"{record.hardened:.4f} for the masks that they become: it is computed of values that were never "
            "thresholded.",
            standing=Standing.DEMONSTRATED,
            location=record.where,
            numbers={"as_is": record.as_is, "of_masks": record.hardened, "samples": record.samples},
            remedy="Take the likeliest class, or threshold, before an overlap of sets is computed.",
        )
