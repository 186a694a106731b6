"""D119: image and boxes part on their way to the network, or validation is augmented."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.data_path import MarkerOnPath, PathRepeats
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "D119",
    "augmentation-not-equivariant",
    Severity.CRITICAL,
    needs=(MarkerOnPath,),
    misplaced=Threshold(0.05, "of the markers; the bounding box of a turned box holds all of its light"),
)
def augmentation_not_equivariant(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What it finds:
        Images that are flipped, turned, cropped or scaled while their boxes stay, and validation images that are drawn
        with the training augmentation.

    Why it stops learning:
        The boxes of the training images lie beside the lesions: what they teach is wrong in as many images as were
        moved, and right at test time, where nothing moves. An augmented validation measures another thing each time.

    Evidence it needs:
        ``Case.data_path``: a bright square with its box is sent along the path of each split, twelve times from places
        that no flip maps onto themselves; one image is sent along the validation path four times.

    How it decides:
        A marker is misplaced if less than half of its light arrives inside the box that arrives with it. More than
        ``misplaced`` of them: demonstrated. Any difference between two passes of the validation path above
        ``change``: demonstrated.

    Remedy:
        Move image, boxes and masks by one matrix that is drawn once; build the validation path without augmentation.

    Trial it proposes:
        None; the path is fixed, not tuned.

    Known false positives:
        Cut-out and mosaic augmentations that hide the marker on purpose; test-time augmentation that is averaged.

    References:
        Cohen and Welling, Group equivariant convolutional networks, ICML 2016 (equivariance of labels and images).
    """
    for record in evidence.of(MarkerOnPath):
        if record.misplaced <= limits.misplaced * record.draws:
            continue
        mirrored = (
            f" In {record.mirrored} of them the mirrored box would have held it: the image is flipped, the box is not."
            if record.mirrored
            else ""
        )
        yield Found(
            message=f"A bright square and its box were sent along the {record.split} path {record.draws} times: in "
            f"{record.misplaced} of them the square arrives outside its box.{mirrored}",
            standing=Standing.DEMONSTRATED,
            location=record.where,
            numbers={"misplaced": record.misplaced, "draws": record.draws, "light inside": round(record.inside, 3)},
            remedy="Draw one matrix an image, and move the boxes by it too.",
        )


@rule(
    "D119",
    "augmentation-not-equivariant",
    Severity.MAJOR,
    needs=(PathRepeats,),
    change=Threshold(1e-3, "of the image's spread; round-off of two equal paths is below 1e-6"),
)
def validation_is_augmented(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The same validation image arrives differently each time: the path of validation draws random changes."""
    for record in evidence.of(PathRepeats):
        if record.differing == 0 or record.change <= limits.change:
            continue
        yield Found(
            message=f"The same image was sent along the {record.split} path {record.draws} times and arrived "
            f"differently {record.differing} times (by up to {100 * record.change:.0f} % of its spread): validation is "
            "augmented.",
            standing=Standing.DEMONSTRATED,
            location=record.where,
            numbers={"differing": record.differing, "draws": record.draws, "change": round(record.change, 4)},
            remedy="Build the validation path without augmentation.",
        )
