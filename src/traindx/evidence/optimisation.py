"""Evidence about the optimiser of a case."""

from __future__ import annotations

from traindx.evidence.base import Record


class FirstSteps(Record):
    """The learning rate that is in effect at each of an optimiser's first steps.

    Attributes:
        optimizer: Class name.
        rates: Learning rate of the first parameter group, a value a step.
    """

    optimizer: str
    rates: tuple[float, ...]
