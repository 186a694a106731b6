"""Evidence about how a training goes."""

from __future__ import annotations

from traindx.evidence.base import Record


class FrozenFit(Record):
    """A fresh model trained by Adam on one frozen batch: the same inputs, noise, time and dropout at every step.

    Attributes:
        learning_rate: Learning rate.
        losses: Loss before each step.
        first: Loss before the first step.
        best: Smallest loss reached.
        last: Mean of the last three losses.
        slope: Mean relative change of the loss a step over the last third (negative while it falls).
        gradient_first: Gradient norm at the first step.
        gradient_last: Gradient norm at the last step.
        seconds: Time it took.
    """

    learning_rate: float
    losses: tuple[float, ...]
    first: float
    best: float
    last: float
    slope: float
    gradient_first: float
    gradient_last: float
    seconds: float = 0.0


class LossBeforeAfter(Record):
    """The loss of the same batches with the same random draws before and after training.

    Attributes:
        before: Mean loss of the fresh model.
        after: Mean loss of the trained model.
        differences: After minus before, one a batch and draw.
        steps: Optimiser steps between.
        moved: Relative change of the parameters (norm of the difference over norm).
    """

    before: float
    after: float
    differences: tuple[float, ...]
    steps: int
    moved: float
