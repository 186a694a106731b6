"""D139 sampler-misses-items."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_state import SamplerSeen
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "D139",
    "sampler-misses-items",
    Severity.CRITICAL,
    needs=(SamplerSeen,),
    looked_at=requires(SamplerSeen, lambda one, limits: one.items > 0, thing="weighted samplers"),
    worse=Threshold(0.8, "share of the rarest class in what is drawn over its share in the data; balancing raises it"),
)
def sampler_misses_items(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A weighted sampler has fewer weights than the data set has items, or makes the rarest class rarer.

    What it finds:
        `WeightedRandomSampler` that is given one weight a class instead of one an item, or the weights of another
        split: it draws the first items only. Weights that grow with the size of a class instead of falling.
    Why it stops learning:
        The network sees a handful of items, or the rare class less often than without a sampler.
    Evidence it needs:
        SamplerSeen (a watched script).
    How it decides:
        Fewer weights than items: the items beyond are never drawn, `demonstrated`. Where the data set keeps whole
        numbers as labels, one an item, the weights of the rarest class are summed up: if it is drawn at less than
        `worse` of its natural share, the weights act against it, `suspected`.
    Remedy:
        One weight an item: `weights = (1 / counts)[labels]`.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A class that is meant to be drawn rarely.
    References:
        PyTorch documentation, `torch.utils.data.WeightedRandomSampler`: weights, a sequence of weights, not necessary
        summing up to one; indices run over its length.
    """
    for one in evidence.of(SamplerSeen):
        if 0 < one.weights < one.items:
            yield Found(
                variant="too-few-weights",
                message=f"The sampler has {one.weights} weights and the data set {one.items} items: only the first "
                f"{one.weights} items are ever drawn.",
                standing=Standing.DEMONSTRATED,
                location=one.where,
                numbers={"weights": one.weights, "items": one.items},
                remedy="Give one weight an item: weights = (1 / counts)[labels].",
            )
        elif one.natural > 0 and one.drawn < limits.worse * one.natural:
            yield Found(
                variant="against-the-rare",
                message=f"The weights of the sampler make the rarest of {one.classes} classes rarer: {one.natural:.1%} "
                f"of the items belong to it, and {one.drawn:.1%} of what is drawn.",
                location=one.where,
                numbers={"natural": one.natural, "drawn": one.drawn},
                remedy="Weigh by one over the size of a class: weights = (1 / counts)[labels].",
            )
