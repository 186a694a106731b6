"""Evidence about the first optimiser steps of a case."""

from __future__ import annotations

from traindx.evidence.base import Record


class FirstSteps(Record):
    """A few optimiser steps of a fresh model, looked at one by one.

    Attributes:
        optimizer: Class name.
        rates: Learning rate of the first parameter group in effect at each step.
        ratios: Median over the weight tensors of ``|update| / |weight|``, for each step.
        losses: Loss before each step.
    """

    optimizer: str
    rates: tuple[float, ...]
    ratios: tuple[float, ...]
    losses: tuple[float, ...]
