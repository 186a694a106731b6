"""Figures that functions of the user's make of the batches of a loader."""

from __future__ import annotations

from traindx.evidence.observed import Observed


class LoaderFigure(Observed):
    """A number that a function returned when it was given a few batches in other orders. ``where`` is what makes it.

    Measured in a child process, with small batches of the same data set; optimisers do not step meanwhile.

    Attributes:
        function: The function.
        figure: Place of the number in what is returned; "" if it is all of it.
        batches: Batches that were passed, all of which were taken.
        silent: Places in the order, from 0, where it made no difference which batch stood there.
        moved: The order of the batches changed the number.
        doubled: The number for batches that hold every item twice, over the number itself; not a number where other
            random numbers change it, too.
        longer: The number for one batch four times in a row, over that for the same batch twice in a row; not a number
            under the same condition.
        value: The number.
        trains: The function has an optimiser.
    """

    function: str
    figure: str = ""
    batches: int
    silent: tuple[int, ...] = ()
    moved: bool = False
    doubled: float = 1.0
    longer: float = 1.0
    value: float = 0.0
    trains: bool = False
