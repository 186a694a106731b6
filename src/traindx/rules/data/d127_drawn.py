"""D127 box-vanishes-on-map, seen in what the loss is given."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.regions import BoxesDrawn
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "D127",
    "box-vanishes-on-map",
    Severity.CRITICAL,
    needs=(BoxesDrawn,),
    drawn_share=Threshold(0.02, "of the boxes that are alone; a box that augmentation leaves a sliver of may be lost"),
)
def drawn_box_vanishes(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Boxes of training batches of which the loss sees not one cell.

    Demonstrated: only boxes that are alone of their concept in their image are counted, and their map is empty.
    """
    for record in evidence.of(BoxesDrawn):
        if not record.alone or record.vanished <= limits.drawn_share * record.alone:
            continue
        yield Found(
            message=f"{record.vanished} of {record.alone} single boxes are drawn on not one cell of the "
            f"{record.map_size[0]} x {record.map_size[1]} map (the smallest is {record.smallest:.1f} cells wide): the "
            "loss sees an image without a lesion.",
            standing=Standing.DEMONSTRATED,
            location=record.where,
            numbers={"vanished": record.vanished, "boxes": record.alone, "cells wide": round(record.smallest, 2)},
            remedy="Weight every cell by the area that the box covers of it, or use a finer map.",
        )
