"""L319 compared-with-itself."""

from __future__ import annotations

import math
from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_loss import LossCall
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule

DISTANCES = ("mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "kl_div")


@rule(
    "L319",
    "compared-with-itself",
    Severity.MAJOR,
    needs=(LossCall,),
    looked_at=requires(
        LossCall,
        lambda call, limits: call.function in DISTANCES and call.phase == "training" and call.calls >= limits.calls,
        otherwise="no distance between two tensors was watched often enough",
    ),
    calls=Threshold(3, "calls that were all zero; a copy that has yet to move apart is zero in the first"),
    zero=Threshold(1e-6, "of what the arguments differ by; float32 arithmetic leaves about 1e-7"),
)
def compared_with_itself(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A distance is zero at every call: its two arguments are the same.

    What it finds:
        A term that compares a tensor with itself, by a mistaken name or because both come from one network
        (a teacher's output on both sides of a distillation).
    Why it stops learning:
        The term has no gradient. What it was to teach is not learnt, and the log shows a perfect value.
    Evidence it needs:
        LossCall (a watched script).
    How it decides:
        All calls looked at in training, at least `calls`, gave less than `zero` although the target varies.
        `demonstrated`.
    Remedy:
        Compare with the other tensor.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A regulariser that is met exactly from the start on.
    References:
        Hinton et al. 2015, Distilling the Knowledge in a Neural Network.
    """
    for call in evidence.of(LossCall):
        if call.function not in DISTANCES or call.phase != "training" or len(call.values) < limits.calls:
            continue
        spread = call.target_high - call.target_low
        elements = math.prod(call.prediction_shape) if call.reduction in ("sum", "batchmean") else 1
        if spread <= 0 or max(abs(value) for value in call.values) > limits.zero * min(1.0, spread) * elements:
            continue
        yield Found(
            message=f"{call.function} is zero in all {len(call.values)} calls looked at, from the first on: its two "
            "arguments are equal, so this term teaches nothing.",
            standing=Standing.DEMONSTRATED,
            location=call.where,
            numbers={"calls": len(call.values), "largest": max(abs(value) for value in call.values)},
            remedy="Look at what the two arguments are computed from: both come from the same tensor or network.",
        )
