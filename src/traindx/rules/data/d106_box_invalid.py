"""D106: boxes that are no boxes of their image."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.dataset import Example
from traindx.evidence.dataset_labels import BoxTable
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule
from traindx.rules.data._words import of, row_place, some


@rule(
    "D106",
    "box-invalid",
    Severity.MAJOR,
    needs=(BoxTable,),
    other_size=Threshold(
        0.3, "random slips touch a few per cent; a third outside means that the unit or size is wrong"
    ),
)
def box_invalid(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What it finds:
        Boxes that reach beyond their image, whose corners are swapped, that have no area, that are not numbers, or that
        are in pixels in a table of relative coordinates (and the other way round); and boxes given twice.

    Why it stops learning:
        A box outside the image points at nothing; a swapped one gives a negative width, an empty crop or a NaN in the
        logarithm of a size; a pixel box read as relative covers the whole image. The loss still falls on the rest.

    Evidence it needs:
        ``BoxTable``: a box table and, for pixels, the images.

    How it decides:
        Demonstrated by one such box: a box must lie in its image (margin: one pixel, or 1 %), have its corners in order
        and a positive area. The unit of the table is that of most of its boxes: relative where no coordinate exceeds
        1.5. Where more than ``other_size`` lie outside, the message says that the boxes belong to another image size.
        Repeated boxes alone are suspected, and so are images of another size than the file of the boxes (COCO, VOC,
        LabelMe) gives for them.

    Remedy:
        Repair the rows named; where the boxes belong to the original image size, scale them with the image.

    Trial it proposes:
        None; the table must be fixed.

    Known false positives:
        Boxes drawn deliberately over the border of a cropped image: clip them.

    References:
        COCO data format (cocodataset.org/#format-data): ``[x, y, width, height]`` in pixels; Pascal VOC: corners.
    """
    for record in evidence.of(BoxTable):
        groups: tuple[tuple[str, int, tuple[Example, ...]], ...] = (
            ("outside the image", record.outside, record.outside_examples),
            ("with swapped corners", record.swapped, record.swapped_examples),
            ("without area", record.no_area, record.no_area_examples),
            ("with missing numbers", record.not_finite, record.not_finite_examples),
            (
                "in pixels among relative ones" if record.unit == "relative" else "relative among pixels",
                record.other_unit,
                record.other_unit_examples,
            ),
        )
        wrong = [(said, count, examples) for said, count, examples in groups if count]
        picture = (f"boxes: {record.table}",)
        if wrong:
            said = ", ".join(f"{count} {what}" for what, count, _ in wrong)
            first = wrong[0][2]
            hint = ""
            if record.outside > limits.other_size * record.boxes:
                hint = " Most likely they were drawn on images of another size."
            elif record.swapped and record.as_width_height == record.swapped:
                hint = " All swapped ones would be valid as x, y, width, height."
            yield Found(
                message=f"{sum(count for _, count, _ in wrong)} of {record.boxes} boxes in {record.table} cannot be "
                f"right: "
                f"{said} ({some(first, 2)}).{hint}",
                standing=Standing.DEMONSTRATED,
                location=row_place(evidence, first),
                offenders=tuple(example for _, _, examples in wrong for example in examples),
                numbers={what: count for what, count, _ in wrong} | {"boxes": record.boxes},
                remedy="Mend the rows named; if the boxes belong to another image size, scale them by width and "
                "height.",
                pictures=picture,
            )
        if record.other_size:
            yield Found(
                message=f"{of(record.other_size, record.images, 'image')} with boxes in {record.table} have another "
                f"size than {record.table} gives for them ({some(record.other_size_examples, 2)}): the boxes do not "
                "fit, unless they were scaled with the image.",
                severity=Severity.MAJOR,
                variant="size",
                location=row_place(evidence, record.other_size_examples),
                offenders=record.other_size_examples,
                numbers={"images of another size": record.other_size, "images": record.images},
                remedy="Draw some boxes on their images; scale the boxes, or take the images that they were drawn on. "
                "Width and height exchanged means an image that its header (EXIF) turns.",
            )
        if record.repeated:
            yield Found(
                message=f"{record.repeated} of {record.boxes} boxes in {record.table} repeat another one of the same "
                f"image "
                f"and class ({some(record.repeated_examples, 2)}).",
                severity=Severity.NOTE,
                location=row_place(evidence, record.repeated_examples),
                offenders=record.repeated_examples,
                numbers={"repeated": record.repeated, "boxes": record.boxes},
                remedy="Drop the repeated rows: they count twice in a loss over boxes.",
            )
