"""Evidence about the path of an image between the file and the network."""

from __future__ import annotations

from traindx.evidence.base import Record


class MarkerOnPath(Record):
    """A bright square and its box, sent along the path several times.

    Attributes:
        split: Split whose path it is.
        draws: Times it was sent.
        misplaced: Times that less than half of the square's light arrived inside the box that arrived with it.
        inside: Mean share of the light inside the box.
        mirrored: Of the misplaced ones, how often the mirrored box would have held the light.
    """

    split: str
    draws: int
    misplaced: int
    inside: float
    mirrored: int


class PathRepeats(Record):
    """The same image sent along the path of a split several times.

    Attributes:
        split: The split.
        draws: Times it was sent.
        differing: Times that something else arrived than at the first time.
        change: Largest mean absolute difference, over the spread of the image.
    """

    split: str
    draws: int
    differing: int
    change: float


class InputWindow(Record):
    """What the path leaves of the grey values of real images.

    Attributes:
        images: Images looked at.
        constant: Share of the pixels at the smallest or largest value that arrives, median over images.
        constant_before: The same in the files.
        levels: Different values that arrive, median over images, counted on the grid of the file.
        levels_before: Different values in the files.
    """

    images: int
    constant: float
    constant_before: float
    levels: int
    levels_before: int
