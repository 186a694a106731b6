"""D106 for landmarks: places that are not in their image."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.dataset_labels import PointTable
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule
from traindx.rules.data._words import of, row_place, some


@rule(
    "D106",
    "box-invalid",
    Severity.MAJOR,
    needs=(PointTable,),
    other_place=Threshold(
        0.3, "a landmark beyond the border of a crop is rare; a third of them means another size or exchanged columns"
    ),
    least_points=Threshold(5, "landmarks; fewer say nothing of the whole table"),
)
def landmarks_outside(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Landmarks of a table lie beyond their image.

    What it finds:
        Landmarks whose coordinates are those of an image of another size, or have x and y exchanged; and single ones
        beyond the border.
    Why it stops learning:
        A heat map drawn there is empty, a regression is pulled out of the image; the error in mm stays where the table
        is wrong, whatever the network does.
    Evidence it needs:
        PointTable: a table with a column of x and one of y, and the images that it names.
    How it decides:
        Demonstrated for a coordinate that is no number, and where more than `other_place` of at least `least_points`
        landmarks lie more than a pixel outside: the table and the images cannot belong together as they are. Single
        ones are suspected: a landmark may lie beyond the border of a crop on purpose.
    Remedy:
        Scale the coordinates with the image, or exchange the columns; leave out landmarks that are not in the picture.
    Trial it proposes:
        None; the table must be fixed.
    Known false positives:
        Single landmarks beyond the border, extrapolated by the annotator.
    References:
        Wang et al., "Evaluation and comparison of anatomical landmark detection methods for cephalometric X-ray
        images", IEEE Transactions on Medical Imaging 34 (2015).
    """
    for record in evidence.of(PointTable):
        if record.not_numbers:
            wrong = record.not_numbers_examples
            yield Found(
                message=f"{of(record.not_numbers, record.points, 'landmark')} in {record.table} have a coordinate that "
                f"is no number ({some(wrong, 2)}).",
                standing=Standing.DEMONSTRATED,
                variant="landmarks",
                location=row_place(evidence, wrong),
                offenders=wrong,
                numbers={"no numbers": record.not_numbers, "landmarks": record.points},
                remedy="Mend the rows named.",
            )
        if not record.outside:
            continue
        whole = record.points >= limits.least_points and record.outside > limits.other_place * record.points
        hint = ""
        if whole and record.as_exchanged > 0.9 * record.outside:
            hint = " Nearly all of them would lie inside with x and y exchanged."
        elif whole:
            hint = " Most likely they were placed on images of another size."
        yield Found(
            message=f"{of(record.outside, record.points, 'landmark')} in {record.table} lie outside their image "
            f"({some(record.outside_examples, 2)}).{hint}",
            standing=Standing.DEMONSTRATED if whole else Standing.SUSPECTED,
            severity=None if whole else Severity.MINOR,
            variant="landmarks",
            location=row_place(evidence, record.outside_examples),
            offenders=record.outside_examples,
            numbers={"outside": record.outside, "landmarks": record.points, "inside if exchanged": record.as_exchanged},
            remedy="Scale the coordinates with the image or exchange the columns; leave out landmarks that are not in "
            "the picture.",
        )
