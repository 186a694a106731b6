"""Figures that a script prints or logs, whose names say between which values they lie."""

from __future__ import annotations

from traindx.evidence.observed import Observed
from traindx.finding import Location


class ReportedFigure(Observed):
    """A figure with a range by definition, as the script reports it. ``where`` is the line that prints or logs it.

    Attributes:
        name: As it is shown.
        called: The word of the name that says what it is.
        least: Least value that it can have by definition, None where there is none.
        most: Greatest value, as a share; None where there is none.
        percent: It may be in percent: a unit stands behind it, or something is multiplied by 100 where it comes from.
        values: What was shown, the first ones and the last.
        traced: Where it comes from was found in the source.
        term: What it comes from is a loss, or a part of one.
        computed: The line that computes it, where that is another one.
        source: Source of that line's expression.
    """

    name: str
    called: str
    least: float | None = None
    most: float | None = None
    percent: bool = False
    values: tuple[float, ...] = ()
    traced: bool = False
    term: bool = False
    computed: Location | None = None
    source: str = ""


class BatchMeansSeen(Observed):
    """A number that a script prints after an evaluation, and that is a mean of what it read of every batch.

    Only of passes over a loader whose last batch is smaller than the others. ``where`` is the line that reads it.

    Attributes:
        batches: Batches of the pass.
        size: Cases in all of them but the last.
        last: Cases in the last.
        as_plain: Times that the number shown was the plain mean over batches.
        as_weighted: Times that it was the mean by their cases (both, where they are the same to its last digit).
        plain: The plain mean, each time.
        weighted: The mean by the cases.
        unlike: How far the last batch is from the mean of the others, in standard deviations of batches of its size.
        shown: The line that prints it.
    """

    batches: int
    size: int
    last: int
    as_plain: int
    as_weighted: int
    plain: tuple[float, ...] = ()
    weighted: tuple[float, ...] = ()
    unlike: tuple[float, ...] = ()
    shown: Location | None = None
