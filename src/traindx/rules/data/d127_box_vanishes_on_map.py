"""D127: boxes smaller than a cell of the network's map."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.dataset_labels import BoxesOnMap
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, Threshold, rule
from traindx.rules.data._words import row_place, some


@rule(
    "D127",
    "box-vanishes-on-map",
    Severity.MINOR,
    needs=(BoxesOnMap,),
    share=Threshold(
        0.01, "1 % of the boxes; chest radiograph sets of large lesions lie at a third of that on 14 cells"
    ),
    class_share=Threshold(0.05, "one box of twenty of a class"),
    many=Threshold(0.1, "one box of ten is more than augmentation can make up for"),
)
def box_vanishes_on_map(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What it finds:
        Boxes that contain no cell centre of the map on which the network's attention or class activation is compared
        with them.

    Why it stops learning:
        Drawn on the map by nearest neighbour such a box is empty. The loss then sees "no lesion here" for an image with
        a lesion, and pushes the activation at the lesion down.

    Evidence it needs:
        ``BoxesOnMap``: boxes, sizes of their images, and the size of the map (14 cells where none is given).

    How it decides:
        A box keeps a cell if it contains the centre (k + 1/2) / S of one along both axes. Suspected, because drawing
        may keep every cell that a box touches: more than ``share`` of all boxes, or ``class_share`` of those of one
        class; major from ``many`` on. Where no size of a map was given (``--map-size``, a task), one note for all
        tables.

    Remedy:
        Draw every cell that a box touches, weight by the overlapped area, or use a finer map or a larger input.

    Trial it proposes:
        None from the table alone.

    Known false positives:
        Losses that rasterise with partial overlap.

    References:
        A square box of side b on cells of side c, anywhere: it holds a centre with probability (b / c)^2 for b < c; 8
        pixels on the 16-pixel cells of a 14 x 14 map vanish in 75 % of the places.
    """
    guessed: list[tuple[BoxesOnMap, str]] = []
    for record in evidence.of(BoxesOnMap):
        classes = {
            name: (gone, count)
            for name, (gone, count) in record.vanished_by_class.items()
            if gone > limits.class_share * count and gone > 1
        }
        share = record.vanished / record.boxes
        if share <= limits.share and not classes:
            continue
        said = ", ".join(f"{gone} of {count} {name}" for name, (gone, count) in sorted(classes.items())[:4] if name)
        if not record.stated:
            guessed.append((record, said))
            continue
        yield Found(
            message=f"{record.vanished} of {record.boxes} boxes in {record.table} contain no cell centre of a "
            f"{record.map_size} x {record.map_size} map"
            + (f": {said}" if said else "")
            + f"; the smallest: {some(record.examples, 2)}.",
            severity=Severity.MAJOR if share >= limits.many else Severity.MINOR,
            location=row_place(evidence, record.examples),
            offenders=record.examples,
            numbers={"vanished": record.vanished, "boxes": record.boxes, "map size": record.map_size},
            remedy="Draw every cell that a box touches, or use a finer map.",
            pictures=(f"small boxes: {record.table}",),
        )
    if guessed:
        yield _on_a_guessed_map(guessed, evidence)


def _on_a_guessed_map(records: list[tuple[BoxesOnMap, str]], evidence: Evidence) -> Found:
    """One note for all tables: nobody said that boxes are drawn on a map at all."""
    first, said = max(records, key=lambda one: one[0].vanished / one[0].boxes)
    vanished, boxes = (sum(getattr(one, name) for one, _ in records) for name in ("vanished", "boxes"))
    where = first.table if len(records) == 1 else f"{len(records)} tables"
    of_class = f"; in {first.table} {said}" if said else ""
    return Found(
        message=f"{vanished} of {boxes} boxes in {where} would contain no cell centre of a {first.map_size} x "
        f"{first.map_size} map (a size that was assumed: give --map-size){of_class}; the smallest: "
        f"{some(first.examples, 2)}.",
        severity=Severity.NOTE,
        location=row_place(evidence, first.examples),
        offenders=tuple(example for one, _ in records for example in one.examples),
        numbers={"vanished": vanished, "boxes": boxes, "map size": first.map_size},
        remedy="Where boxes are drawn on a map: draw every cell that a box touches, or use a finer map.",
        pictures=tuple(f"small boxes: {one.table}" for one, _ in records),
    )
