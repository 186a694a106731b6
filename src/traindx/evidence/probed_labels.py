"""What label maps are compared with, and what occurs in them."""

from __future__ import annotations

from traindx.evidence.observed import Observed


class LabelsCompared(Observed):
    """All comparisons of label maps with numbers in one function. ``where`` is the first that looks for what never is.

    Measured in a child process that makes items once more and calls the user's functions again.

    Attributes:
        function: The function, or the class of a library's transform.
        named: Numbers that it looks for.
        never: Those that occur in none of the maps.
        unnamed: Values that occur, above the smallest, and that no comparison of the function tells from it.
        values: All values that occur.
        maps: Maps that were compared, up to some two dozen.
        items: Items of the data set that were made; 0 where it was seen in calls of functions only.
        of: Length of that data set.
    """

    function: str
    named: tuple[float, ...]
    never: tuple[float, ...] = ()
    unnamed: tuple[float, ...] = ()
    values: tuple[float, ...] = ()
    maps: int
    items: int = 0
    of: int = 0


class LabelsMerged(Observed):
    """What becomes of the values of the label maps that a data set reads. ``where`` is the line that merges.

    Measured in a child process: items are made again with one value written as another one in what was read. Where
    nothing of the item changes, it holds both as one. Shares and distances are medians over the maps.

    Attributes:
        dataset: Its class.
        values: All values of the maps.
        maps: Maps that were looked at.
        value: One that the items do not tell from `into`; -1 where every value is told from every other.
        into: The value whose part it is, the smallest of them.
        items: Items in which it shows: nothing changes for `into`, and something for `told_from`.
        told_from: The values that items tell from both.
        share: Of the voxels that have `value`.
        deep: Of those that lie deeper in a region than a seam between two others is wide.
        apart: Kolmogorov-Smirnov distance between the intensities under `into` and its like and under `told_from`.
        mixture: That between the intensities under `value` and the nearest mixture of the two.
        part: Share of `told_from` in that mixture.
        pure: Distance to the nearer one of the two alone.
        follows: 1 where what lies beyond the region's border goes on in it, 0 where it looks the same everywhere.
        edge: Change of the image across its border, 0 as inside, 1 as between the two others; None where these do not
            touch.
        pictures: Maps with an image of the same shape, of which these figures are.
        declared: What says that the value is not annotated, with file and line.
        meant: A comment at the line says that the value is merged on purpose.
    """

    dataset: str
    values: tuple[float, ...]
    maps: int
    value: float = -1.0
    into: float = -1.0
    items: int = 0
    told_from: tuple[float, ...] = ()
    share: float = 0.0
    deep: float = 0.0
    apart: float = 0.0
    mixture: float = 1.0
    part: float = 0.0
    pure: float = 0.0
    follows: float = 0.0
    edge: float | None = None
    pictures: int = 0
    declared: str = ""
    meant: bool = False
