"""L307 reduction-or-weighting in a watched script: class weights that follow the classes' own shares."""

from __future__ import annotations

import math
from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_loss import LossCall
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "L307",
    "reduction-or-weighting",
    Severity.MAJOR,
    needs=(LossCall,),
    thing="weights of classes",
    rarer=Threshold(0.5, "share of the rarest class over that of the commonest; nearer to 1 no class is rare"),
    weighs=Threshold(0.6, "weight of the rarest class over that of the commonest; unweighted losses have 1"),
    follows=Threshold(0.97, "cosine between weights and shares: weights that are the shares, up to a factor, have 1"),
    targets=Threshold(64, "targets that were counted, so that a share means something"),
)
def rarer_class_weighs_less(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The weights of a cross-entropy are greatest for the commonest class and least for the rarest.

    Counts that were divided by their sum where it should have been the other way round, a missing ``1 -``, a
    `pos_weight` of positives over negatives. The shares are those of the targets that the loss was given, so a sampler
    that balances classes is taken into account; weights of zero, which leave a class out, are not looked at.
    `demonstrated` where the weights of all classes follow their shares (`follows`), `suspected` otherwise: a class may
    weigh little for what its mistakes cost.
    """
    for call in evidence.of(LossCall):
        known = dict(zip(call.target_values, call.target_share, strict=True))
        pairs = [
            (known[float(number)], weight)
            for number, weight in enumerate(call.class_weights)
            if known.get(float(number), 0.0) > 0 and weight > 0
        ]
        counted = call.calls * math.prod(call.target_shape)
        if call.phase != "training" or len(pairs) < 2 or counted < limits.targets:
            continue
        (least, rare), (most, common) = min(pairs), max(pairs)
        if least > limits.rarer * most or rare > limits.weighs * common:
            continue
        cosine = _cosine(pairs)
        yield Found(
            variant="weights-follow-shares",
            message=f"The rarest class ({100 * least:.2g} % of the targets) weighs {rare / common:.2g} times as much "
            f"as the commonest ({100 * most:.2g} %): the weights follow the shares instead of balancing them.",
            standing=Standing.DEMONSTRATED if cosine >= limits.follows else Standing.SUSPECTED,
            location=call.weights_from or call.where,
            numbers={"rare": rare, "common": common, "share": least, "cosine": cosine},
            remedy="Weight a class by one over its share (or total / (classes * count)), with a cap; pos_weight is "
            "negatives over positives.",
        )


def _cosine(pairs: list[tuple[float, float]]) -> float:
    """Cosine of the angle between shares and weights."""
    product = sum(share * weight for share, weight in pairs)
    return product / math.sqrt(sum(share**2 for share, _ in pairs) * sum(weight**2 for _, weight in pairs))
