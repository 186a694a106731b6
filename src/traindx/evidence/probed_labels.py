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
