"""L309 loss-at-initialisation-off."""

from __future__ import annotations

import math
from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed import InputSeen
from traindx.evidence.observed_loss import LossCall
from traindx.evidence.observed_state import CheckpointRead, WeightsLoaded
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, Nothing, Threshold, rule


def _known_start(evidence: Evidence, limits: Limits) -> Nothing | None:
    """Training began from random weights, with a loss whose first value is known in advance."""
    if evidence.last(WeightsLoaded) is not None or evidence.last(CheckpointRead) is not None:
        return Nothing("", "start from random weights")
    known = any(
        call.phase == "training" and call.reduction == "mean" and not call.weighted and _expected(call, limits)[0] > 0
        for call in evidence.of(LossCall)
    )
    return None if known else Nothing("no loss was seen whose value at the start is known in advance")


@rule(
    "L309",
    "loss-at-initialisation-off",
    Severity.MAJOR,
    needs=(LossCall,),
    looked_at=_known_start,
    factor=Threshold(
        3.0, "first loss over that of a network that knows nothing; default initialisations stay below 1.6"
    ),
    squared=Threshold(
        10.0, "first squared error over the largest squared target; an output of the targets' size gives 4"
    ),
    large=Threshold(20.0, "size of input values: z-scores, [0, 1] and [-1, 1] stay below 10, 8-bit images reach 255"),
)
def loss_at_start_off(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The very first loss is far above that of a network that knows nothing.

    What it finds:
        A first cross-entropy far above ln(classes), a first binary cross-entropy far above ln 2, or a first squared
        error far above the square of the targets.
    Why it stops learning:
        The network starts out confidently wrong: outputs are large and saturated, and the first gradients undo that
        instead of learning. The usual cause is an input that was not normalised, or a bad initialisation.
    Evidence it needs:
        LossCall and InputSeen (a watched script).
    How it decides:
        Value of the first call against the closed form for an uninformed network. Not judged if weights were loaded,
        if class weights are given, or if a probability loss got probabilities. `suspected`. If an input is not of
        unit size, the finding is placed at the network's call and names its range.
    Remedy:
        Normalise the input (zero mean, unit variance, or [-1, 1]); initialise the last layer near zero.
    Trial it proposes:
        `renormalise` where an input is not of unit size.
    Known false positives:
        A loss with a large constant scale of its own.
    References:
        Karpathy, A Recipe for Training Neural Networks, 2019 ("verify loss @ init").
    """
    if evidence.last(WeightsLoaded) is not None or evidence.last(CheckpointRead) is not None:
        return
    for call in evidence.of(LossCall):
        expected, factor = _expected(call, limits)
        if call.phase != "training" or call.reduction != "mean" or call.weighted or not expected > 0:
            continue
        if call.prediction_from in ("sigmoid", "softmax") or not call.first_value > factor * expected:
            continue
        wild = [
            seen
            for seen in evidence.of(InputSeen)
            if seen.phase == "training"
            and seen.low
            and max(map(abs, (*seen.low, *seen.high))) > limits.large
            and seen.dtype.startswith(("float", "bfloat"))
        ]
        cause, location, remedy = "", call.where, "Initialise the last layer near zero."
        if wild:
            low, high = min(wild[0].low), max(wild[0].high)
            cause = f"; the input of {wild[0].network} spans {low:.4g} to {high:.4g}"
            location = wild[0].where or call.where
            remedy = "Normalise the input to unit variance or [-1, 1] before the network sees it."
        yield Found(
            message=f"The first {call.function} is {call.first_value:.3g}; a network that knows nothing would have "
            f"{expected:.3g}{cause}.",
            location=location,
            numbers={"first_loss": call.first_value, "expected": expected},
            remedy=remedy,
        )


def _expected(call: LossCall, limits: Limits) -> tuple[float, float]:
    """Loss of a network that knows nothing, and the factor above it that is still usual."""
    if call.function in ("cross_entropy", "nll_loss") and call.classes > 1:
        return math.log(call.classes), limits.factor
    if call.function == "binary_cross_entropy_with_logits":
        return math.log(2.0), limits.factor
    if call.function == "mse_loss":
        return max(call.target_low**2, call.target_high**2), limits.squared
    return 0.0, limits.factor
