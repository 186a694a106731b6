"""T906 divergence."""

from __future__ import annotations

import math
from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed import LossSeries
from traindx.evidence.observed_loss import NonFiniteOrigin
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, rule

_REMEDIES = {
    "log": "Add a small positive number inside the logarithm, or use a loss that works on logits.",
    "div": "Add a small positive number to the denominator.",
    "sqrt": "Add a small positive number inside the root: its derivative at 0 is infinite.",
    "exp": "Clamp or normalise the exponent; use logsumexp.",
    "pow": "Keep the base away from 0: the derivative of a fractional power at 0 is infinite.",
}


@rule("T906", "divergence", Severity.CRITICAL, needs=(LossSeries,))
def divergence(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The loss is not finite, and this is the first operation that made it so.

    What it finds:
        A loss that becomes NaN or infinite, with the operation and the line where finite values became others.
    Why it stops learning:
        One such step makes every weight NaN, for good.
    Evidence it needs:
        LossSeries and NonFiniteOrigin (a watched script).
    How it decides:
        A loss that is not finite is a fact: `demonstrated`. The operation is found in the autograd graph of that very
        iteration: the first node in forward order with finite inputs and a result that is not finite, or with an input
        outside its domain. If every value was finite until the weights were not, the operation whose derivative is
        infinite at a value it was seen to get (a root of 0) is named.
    Remedy:
        By operation: guard logarithms, divisions and roots with a small positive number; lower the learning rate.
    Trial it proposes:
        The patch that `traindx fix` shows, where the line allows one.
    Known false positives:
        None. A loss that a gradient scaler multiplied is divided by its factor first.
    References:
        PyTorch, "Anomaly detection" (which needs a second, slower run).
    """
    broken = [series for series in evidence.of(LossSeries) if series.first_nonfinite >= 0]
    if not broken:
        return
    series = min(broken, key=lambda one: one.first_nonfinite)
    origins = evidence.of(NonFiniteOrigin)
    forward = [one for one in origins if one.direction == "forward" and one.function != "input"]
    backward = [one for one in origins if one.direction == "backward"]
    data = [one for one in origins if one.direction == "forward" and one.function == "input"]
    start = f"The loss is not finite from iteration {series.first_nonfinite} on"
    if forward and not _weights_already_broken(forward[0]):
        origin = forward[0]
        span = f"[{origin.input_low:.3g}, {origin.input_high:.3g}]"
        message = f"{start}: {origin.function} gets values in {span} and {100 * origin.share:.2g} % of it fails."
    elif backward:
        origin = backward[0]
        message = (
            f"{start}: {origin.function} is taken of exactly 0 in {100 * origin.share:.2g} % of its input, where its "
            "derivative is infinite, so the gradient and then the weights become NaN."
        )
    else:
        where = " The values that came in were already not finite." if data else ""
        yield Found(
            message=f"{start}.{where}",
            standing=Standing.DEMONSTRATED,
            location=series.where,
            numbers={"iteration": series.first_nonfinite},
            remedy="Lower the learning rate, clip gradients, and look at the batch of that iteration.",
        )
        return
    yield Found(
        message=message,
        standing=Standing.DEMONSTRATED,
        location=origin.where or series.where,
        numbers={
            "iteration": series.first_nonfinite,
            "function": origin.function,
            "input_low": origin.input_low,
            "input_high": origin.input_high,
        },
        remedy=_REMEDIES.get(origin.function, "Guard this operation, lower the learning rate, clip gradients."),
    )


def _weights_already_broken(origin: NonFiniteOrigin) -> bool:
    """Its own input was not finite either, so it is not the first."""
    return not (math.isfinite(origin.input_low) and math.isfinite(origin.input_high))
