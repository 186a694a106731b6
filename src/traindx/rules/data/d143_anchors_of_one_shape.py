"""D143 anchors-of-one-shape."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.probed_functions import AnchorsTried
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, rule


@rule(
    "D143",
    "anchors-of-one-shape",
    Severity.MAJOR,
    needs=(AnchorsTried,),
    thing="anchors of several aspect ratios",
)
def anchors_of_one_shape(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Anchors are made from several aspect ratios and have one shape.

    What it finds:
        `w = scale * sqrt(ratio); h = scale * sqrt(ratio)`: squares of several sizes instead of boxes of several shapes.
    Why it stops learning:
        Elongated findings match no anchor well; what is left to the regression is larger than it was made for.
    Evidence it needs:
        AnchorsTried (a watched script): what the function returned, beside the ratios that it was given.
    How it decides:
        Two or more different ratios were given, and all boxes have one ratio of width and height: `demonstrated`.
    Remedy:
        `w = scale * sqrt(ratio)`, `h = scale / sqrt(ratio)`.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A function that takes the ratios for another purpose and makes squares on purpose.
    References:
        Ren et al., Faster R-CNN, NeurIPS 2015, section 3.1.1.
    """
    for one in evidence.of(AnchorsTried):
        if one.shapes != 1:
            continue
        yield Found(
            message=f"{one.function} is given {one.ratios} aspect ratios, and its {one.boxes} boxes all have one and "
            "the same ratio of width and height.",
            standing=Standing.DEMONSTRATED,
            location=one.where,
            numbers={"ratios": one.ratios, "shapes": one.shapes, "boxes": one.boxes},
            remedy="Width goes up and height down with the ratio: scale * sqrt(ratio) and scale / sqrt(ratio).",
        )
