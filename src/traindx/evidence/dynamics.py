"""Evidence about how a training goes."""

from __future__ import annotations

from traindx.evidence.base import Record


class FrozenFit(Record):
    """A fresh model trained on one frozen input and target, the same noise and time at every step.

    Attributes:
        learning_rate: Learning rate over the case's own (``factor``) and in absolute terms.
        factor: Multiple of the case's own learning rate.
        losses: Loss before each step.
        first: Loss before the first step.
        best: Smallest loss reached.
        slope: Mean relative change of the loss a step over the last third (negative while it falls).
        gradient_first: Gradient norm at the first step.
        gradient_last: Gradient norm at the last step.
        blank: Loss of the best constant output where it is known, else NaN.
        seconds: Time it took.
    """

    learning_rate: float
    factor: float
    losses: tuple[float, ...]
    first: float
    best: float
    slope: float
    gradient_first: float
    gradient_last: float
    blank: float = float("nan")
    seconds: float = 0.0


class LossBeforeAfter(Record):
    """The loss of the same batches with the same random draws before and after training.

    Attributes:
        before: Mean loss of the fresh model.
        after: Mean loss of the trained model.
        blank_inputs: Loss of the trained model when every condition is another sample's; NaN where not tried.
        steps: Optimiser steps between.
        batches: Number of batches.
        moved: Relative change of the parameters (norm of the difference over norm).
    """

    before: float
    after: float
    blank_inputs: float = float("nan")
    steps: int = 0
    batches: int = 0
    moved: float = float("nan")
