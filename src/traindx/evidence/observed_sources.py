"""What a script's own sources say, read and not run."""

from __future__ import annotations

from traindx.evidence.observed import Observed
from traindx.finding import Location


class SourcesRead(Observed):
    """The sources that were read for slips; without it nobody has looked.

    Attributes:
        files: How many files.
        lines: How many lines they have together.
    """

    files: int
    lines: int


class SourceSlip(Observed):
    """A place at which a program contradicts itself; ``where`` is it.

    Attributes:
        form: Kind of slip, as :mod:`traindx.watch.reading` calls it.
        source: Source of the place.
        detail: What it contradicts.
        other: Where that is.
        was: Name that stands there, "" where it is not one name.
        better: Name that would not contradict, "" where that is for the author to say.
    """

    form: str
    source: str
    detail: str = ""
    other: Location | None = None
    was: str = ""
    better: str = ""
