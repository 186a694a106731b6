"""Evidence about boxes: how they are drawn on the network's map, and what the box term does with them."""

from __future__ import annotations

from traindx.evidence.base import Record


class BoxesDrawn(Record):
    """Boxes of training batches as the loss sees them on the map.

    Attributes:
        boxes: Boxes looked at.
        vanished: Boxes alone of their concept in their image, of which not one cell is drawn.
        alone: Boxes alone of their concept in their image.
        smallest: Shorter side of the smallest vanished box, in cells of the map; NaN where none vanished.
        map_size: Rows and columns of the map.
    """

    boxes: int
    vanished: int
    alone: int
    smallest: float
    map_size: tuple[int, int]


class BoxDirection(Record):
    """What a step down the box term does to a map that says nothing yet.

    Attributes:
        term: Name of the term.
        pairs: (Image, concept) pairs with boxes that the step moves.
        raised: Share of them in which the mean logit inside rises against the mean outside.
        inside: Mean change of a logit inside boxes, per unit step.
        outside: The same outside.
        several: Pairs with two or more boxes.
        at_blank: Value of the term for a map of zeros.
        at_truth_single: Value where all boxes are lit, over images with at most one box a concept; NaN where none.
        at_truth_several: The same over images with two or more boxes of a concept.
        below_margin: Value of the term for boxes that are lit by a tenth of a logit only, over images with one box.
    """

    term: str
    pairs: int
    raised: float
    inside: float
    outside: float
    several: int
    at_blank: float
    at_truth_single: float
    at_truth_several: float
    below_margin: float


class ClassWeighting(Record):
    """How hard a term pulls on positives and on negatives of a concept where the network is undecided.

    Attributes:
        term: Loss term.
        concept: Name of the concept, or its number.
        positives: Positives among the samples.
        samples: Samples.
        ratio: Gradient of a positive over that of a negative, at probability one half.
        easy: Gradient of a negative at a probability of 0.05 over that at one half: 0.1 for cross entropy, and less
            for a focal loss, which turns away from what is easy; NaN where it is unknown.
    """

    term: str
    concept: str
    positives: int
    samples: int
    ratio: float
    easy: float = float("nan")
