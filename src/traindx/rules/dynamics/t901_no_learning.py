"""T901 no-learning."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.dynamics import LossBeforeAfter
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "T901",
    "no-learning",
    Severity.MAJOR,
    needs=(LossBeforeAfter,),
    looked_at=requires(
        LossBeforeAfter,
        lambda seen, limits: seen.steps >= limits.steps and seen.before > 0,
        otherwise="the training was too short, or its loss can be negative",
    ),
    steps=Threshold(50, "optimiser steps; before that nothing has to be seen"),
    gain=Threshold(0.01, "of the loss; healthy trainings of 100 steps lose a third and more"),
)
def no_learning(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """After training, the loss of the same batches with the same draws is what it was before.

    What it finds:
        A training that runs and changes nothing that the loss could see.
    Why it stops learning:
        It never started: a learning rate far too small or far too large, an optimiser that holds other parameters, a
        loss without gradient, or parameters that are put back.
    Evidence it needs:
        LossBeforeAfter (check *learned*).
    How it decides:
        The loss of the fresh and of the trained model is compared draw by draw (same batch, noise and time) in
        evaluation mode. After at least `steps` planned steps it must have fallen by `gain`; if it did not, in the mean
        and in at least half of the draws, it is `demonstrated` when the loss is no lower at all, else `suspected`.
    Remedy:
        Check that the optimiser holds this model's parameters, and try learning rates a factor of ten apart.
    Trial it proposes:
        None of its own; O401 and O402 propose learning rates.
    Known false positives:
        Models that are already trained when they are built.
    References:
        None.
    """
    seen = evidence.last(LossBeforeAfter)
    if seen is None or seen.steps < limits.steps or not seen.before > 0:
        return
    fallen = (seen.before - seen.after) / seen.before
    worse = sum(difference >= 0 for difference in seen.differences)
    if fallen >= limits.gain:
        return
    flat = fallen <= 0 and worse >= len(seen.differences) / 2
    yield Found(
        message=f"Training did not lower the loss: {seen.before:.4g} before, {seen.after:.4g} after, on the same "
        f"batches with the same draws; the parameters moved by {100 * seen.moved:.2g} % of their size.",
        standing=Standing.DEMONSTRATED if flat else Standing.SUSPECTED,
        numbers={"before": seen.before, "after": seen.after, "parameters_moved": seen.moved},
        remedy="Check that the optimiser holds this model's parameters; then try learning rates a factor of ten apart.",
    )
