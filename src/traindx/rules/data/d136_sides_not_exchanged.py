"""D136 sides-not-exchanged."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_items import SidesSeen
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "D136",
    "sides-not-exchanged",
    Severity.CRITICAL,
    needs=(SidesSeen,),
    looked_at=requires(
        SidesSeen,
        lambda record, limits: record.pairs > 0 and record.items >= limits.least_items,
        otherwise="the landmarks have no left and right partners",
    ),
    thing="landmarks in batches",
    least_items=Threshold(24, "training items, so that a share of them means something"),
    mirrored=Threshold(0.1, "of them that are mirrored; annotators exchange sides more rarely"),
    kept=Threshold(0.1, "of them that are not; a figure that is always mirrored is another convention"),
)
def sides_not_exchanged(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Images are mirrored, and left and right landmarks keep their numbers.

    What it finds:
        A random flip that mirrors the coordinates of landmarks and leaves their order, so that the left hip of a
        mirrored patient is called right in half of the training images.
    Why it stops learning:
        Left and right have the same targets on both sides: each channel has two peaks, or one between them.
    Evidence it needs:
        SidesSeen (a watched script with landmarks or heat maps in its batches, and a loader that is not augmented).
    How it decides:
        Every three landmarks run clockwise or the other way, whatever rotation, shift or scale; only a mirror image
        turns that round. In the loader that does not train the way is always the same, in training at least `mirrored`
        of the items have all of them reversed and at least `kept` none; and the figure is symmetric: mirrored, its
        landmarks fall on each other in pairs. `demonstrated`. A hand, which has no such pairs, may be mirrored.
    Remedy:
        Exchange the partners after mirroring: ``points = points[[1, 0, 3, 2]]``.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A symmetric figure whose sides are meant to be those of the image and not of the patient, with a validation set
        that is labelled by another convention.
    References:
        None.
    """
    for record in evidence.of(SidesSeen):
        if record.items < limits.least_items or not record.pairs:
            continue
        if record.mirrored < limits.mirrored * record.items or record.kept < limits.kept * record.items:
            continue
        yield Found(
            message=f"In {record.mirrored} of {record.items} training items the landmarks run the other way round, in "
            f"{record.kept} as in validation: images are mirrored, and {record.pairs} pairs of left and right "
            "landmarks are not exchanged.",
            standing=Standing.DEMONSTRATED,
            location=record.made_at or record.item or record.where,
            numbers={"items": record.items, "mirrored": record.mirrored, "pairs": record.pairs},
            remedy="Exchange the left and right partners whenever an image is mirrored.",
        )
