"""D119 in a running script: masks that do not lie on their images in training, and do in validation."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_items import MaskOnImage
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule
from traindx.rules.data._d119 import left_behind, moved_apart_by


@rule(
    "D119",
    "augmentation-not-equivariant",
    Severity.CRITICAL,
    needs=(MaskOnImage,),
    looked_at=requires(
        MaskOnImage,
        lambda record, limits: record.trains and record.reference > 0 and record.items >= limits.least_items,
        otherwise="no loader that does not train shows what masks explain of their images",
    ),
    thing="images and masks in batches",
    least_items=Threshold(16, "items that have a mask of more than one value"),
    apart=Threshold(0.25, "of the items that explain less than a quarter of what masks explain where nothing is moved"),
    near_chance=Threshold(1.6, "what the own mask explains over what another item's mask does"),
)
def mask_left_behind(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """In training the mask does not lie on its image.

    What it finds:
        Image and mask that go through a random transform each, or of which one is flipped, turned or cropped alone.
    Why it stops learning:
        The targets are those of other places; nothing but their average can be learned. Validation, which is not
        augmented, has the right ones.
    Evidence it needs:
        MaskOnImage (a watched script with a loader for training and another one).
    How it decides:
        How much of an image's variance do the regions of its mask explain? In at least `apart` of the training items
        less than a quarter of what they explain in a loader that does not train, and either a flipped or turned mask
        explains it again in most of them, or a training item's own mask explains at most `near_chance` times what the
        mask of another item does. `demonstrated`, since validation shows that masks do tell of their images.
    Remedy:
        Draw the random numbers of a transform once, and move image and mask by the same.
    Trial it proposes:
        None; fix it.
    Known false positives:
        Training images of another kind than those of validation.
    References:
        Cohen and Welling, Group equivariant convolutional networks, ICML 2016 (equivariance of labels and images).
    """
    elsewhere = bool(moved_apart_by(evidence, limits))
    for record in left_behind(evidence, limits):
        if elsewhere and record.made_at is None:
            continue  # an experiment knows the line
        turned = record.turned >= 0.5 * record.low
        yield Found(
            variant="mask-left-behind",
            message=f"In {record.low} of {record.items} training items the mask does not lie on its image: it explains "
            f"less than a quarter of the {100 * record.reference:.0f} % of the variance that masks do in validation."
            + (" Flipped or turned it would." if turned else ""),
            standing=Standing.DEMONSTRATED,
            location=record.made_at or record.item or record.where,
            numbers={
                "items": record.items,
                "apart": record.low,
                "explained": round(record.explained, 4),
                "by_other": round(record.by_other, 4),
                "reference": round(record.reference, 4),
            },
            remedy="Apply one drawn transform to both, for example to image and mask joined as channels.",
        )
