"""D106 in a running script: boxes that lose the order of their corners on the way into a batch."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_items import BoxesSeen
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "D106",
    "box-invalid",
    Severity.CRITICAL,
    needs=(BoxesSeen,),
    looked_at=requires(
        BoxesSeen,
        lambda record, limits: record.boxes >= limits.least_boxes,
        otherwise="too few boxes were seen in batches",
    ),
    thing="boxes in batches",
    least_boxes=Threshold(20, "boxes; single ones may be slips of an annotator"),
    swapped=Threshold(0.02, "of the boxes"),
    most_swapped=Threshold(0.9, "of the boxes: if nearly all are, the columns are no corners"),
    gap=Threshold(10, "least size over the median, times the number of boxes; about 0.5 for columns of centres"),
)
def boxes_crossed_in_batches(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Some boxes of a batch have their second corner before the first one.

    What it finds:
        An augmentation that mirrors the corners of a box and leaves them in their order, so that x1 > x2 in every image
        that was flipped.
    Why it stops learning:
        No point lies inside such a box and its overlap with anything is zero: the object is trained as background in
        as many images as are flipped.
    Evidence it needs:
        BoxesSeen (a watched script that reads boxes from a loader).
    How it decides:
        Between `swapped` and `most_swapped` of at least `least_boxes` boxes are crossed and as large as the others.
        Where items were made again line by line and a line was found after which a box of the same size has its corners
        in another order: `demonstrated`, at that line. Without it `suspected`, and only if no box has hardly any extent
        (`gap`): centre and size, read as corners, have all differences.
    Remedy:
        Exchange the corners when mirroring: the new x1 is the size less the old x2.
    Trial it proposes:
        None; fix it.
    Known false positives:
        Directed boxes (vectors) whose order means something.
    References:
        None.
    """
    for record in evidence.of(BoxesSeen):
        share = record.crossed / max(record.boxes, 1)
        if record.boxes < limits.least_boxes or not limits.swapped <= share <= limits.most_swapped:
            continue
        alike = 0.5 <= record.ratio <= 2 and record.gap * record.boxes >= limits.gap
        if record.made_at is None and not alike:
            continue
        yield Found(
            variant="corners-swapped",
            message=f"{100 * share:.0f} % of the boxes in the batches of {record.dataset} have their second corner "
            "before the first one (x1 > x2 or y1 > y2): an augmentation moves corners and keeps their order.",
            standing=Standing.DEMONSTRATED if record.made_at is not None else Standing.SUSPECTED,
            location=record.made_at or record.item or record.where,
            numbers={"boxes": record.boxes, "crossed": record.crossed},
            remedy="Exchange the two corners on the axis that is mirrored.",
        )
