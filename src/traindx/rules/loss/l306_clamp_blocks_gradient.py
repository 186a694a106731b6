"""L306 clamp-blocks-gradient."""

from __future__ import annotations

import math
from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_loss import ClampSeen
from traindx.finding import Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "L306",
    "clamp-blocks-gradient",
    Severity.MAJOR,
    needs=(ClampSeen,),
    looked_at=requires(
        ClampSeen,
        lambda clamp, limits: clamp.reaches_loss and not clamp.before_log,
        thing="clamps on the way to the loss",
    ),
    lost=Threshold(
        0.5,
        "share of the gradient's norm; an x0 clamped to 1 to 1.5 times the data range in a healthy v model: 0.05-0.40",
    ),
    most_lost=Threshold(0.9, "81 % of the gradient's energy: what is left cannot teach the values that are clamped"),
)
def clamp_blocks_gradient(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A clamp on the way to the loss stops the gradient of the values that need it most.

    What it finds:
        A `clamp`, `clip` or `hardtanh` between parameters and loss whose bounds cut off values that carry gradient.
    Why it stops learning:
        Beyond a bound the derivative is zero: a wrong prediction out there is never corrected.
    Evidence it needs:
        ClampSeen (checks *training-step* and *trained-step*, or a watched script).
    How it decides:
        The gradient that arrives at the clamp is split into what passes and what stops. Above `lost` of its norm the
        finding is `suspected`, above `most_lost` it is `demonstrated`. Between the layers of a network `hardtanh` and
        `ReLU6` are activations, bounded by design, and left alone; a `clamp` there is `suspected`, above `most_lost`.
        Whatever its bounds, a clamp that no gradient
        passes (under `no_grad`, in an unused branch) or that stops none is not reported: it is without effect, and
        listed among what was found healthy. So is a guard before a logarithm or a division.
    Remedy:
        Remove the clamp from the training path, or widen it to the range of the targets; clip at inference only.
    Trial it proposes:
        `unclamp` at that line.
    Known false positives:
        A hinge that is meant to stop (a margin that is reached). Values that start far outside and come in soon.
    References:
        None.
    """
    newest: dict[tuple[str, str], ClampSeen] = {}
    for clamp in evidence.of(ClampSeen):
        key = (str(clamp.where), clamp.function)
        known = newest.get(key)
        if known is None or _age(clamp) >= _age(known):
            newest[key] = clamp
    for clamp in newest.values():
        if not clamp.reaches_loss or clamp.before_log or clamp.gradient_lost < limits.lost:
            continue
        if clamp.hidden and (clamp.function == "hardtanh" or clamp.gradient_lost < limits.most_lost):
            continue
        yield Found(
            message=f"{clamp.function} to {_range(clamp)} stops {100 * clamp.gradient_lost:.0f} % of the gradient that "
            f"arrives there: {100 * clamp.on_bounds:.0f} % of the values lie beyond it (they span "
            f"{clamp.input_low:.3g} to {clamp.input_high:.3g}).",
            standing=Standing.DEMONSTRATED
            if clamp.gradient_lost >= limits.most_lost and not clamp.hidden
            else Standing.SUSPECTED,
            location=clamp.where,
            numbers={
                "gradient_lost": round(clamp.gradient_lost, 4),
                "share_beyond_bounds": round(clamp.on_bounds, 4),
                "low": clamp.low,
                "high": clamp.high,
            },
            remedy="Take the clamp out of the training path, or widen it to the targets' range; clip at inference.",
            proposals=_unclamp(clamp),
        )


def _age(clamp: ClampSeen) -> tuple[int, int, float]:
    """Later looks at a line replace earlier ones; of two calls in one look the worse one counts."""
    return clamp.snapshot, clamp.step, clamp.gradient_lost


def _range(clamp: ClampSeen) -> str:
    if math.isinf(clamp.low):
        return f"at most {clamp.high:g}"
    return f"at least {clamp.low:g}" if math.isinf(clamp.high) else f"[{clamp.low:g}, {clamp.high:g}]"


def _unclamp(clamp: ClampSeen) -> tuple[Proposal, ...]:
    if clamp.where is None:
        return ()
    parameters = {"file": clamp.where.file, "line": clamp.where.line, "mode": "identity"}
    return (Proposal(treatment="unclamp", parameters=parameters),)
