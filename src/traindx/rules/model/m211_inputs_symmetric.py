"""M211 inputs-symmetric."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.model import InputEffect
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "M211",
    "inputs-symmetric",
    Severity.MAJOR,
    needs=(InputEffect,),
    looked_at=requires(
        InputEffect,
        lambda effect, limits: effect.change == "swap" and effect.differs,
        thing="inputs that could be swapped",
    ),
    nothing=Threshold(1e-5, "sums of float32 in another order; the smallest real effect of a swap was 2e-3"),
    used=Threshold(1e-4, "an input that does nothing at all is M205's"),
)
def inputs_symmetric(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Two inputs can be exchanged and nothing changes: the network cannot know which is which.

    What it finds:
        Views or modalities that are averaged, summed or pooled together, so that frontal and lateral are one to the
        network.
    Why it stops learning:
        What tells the two apart (which axis a radiograph was projected along) is the information that a second view
        adds. Without it the network places structures from either view along both axes.
    Evidence it needs:
        InputEffect of swaps (checks *input-effects* and *trained-input-effects*).
    How it decides:
        Each of the two inputs matters (`used`), and exchanging them changes the output by at most `nothing` of its
        spread, although their contents differ. Then it is `demonstrated`.
    Remedy:
        Give each view its own encoder or a view embedding, and put its features back along its own axis.
    Trial it proposes:
        None that is generic.
    Known false positives:
        Inputs that are exchangeable by nature (repeated scans, a set of unordered images).
    References:
        None.
    """
    effects = [effect for effect in evidence.of(InputEffect) if effect.differs]
    for swap in effects:
        if swap.change != "swap" or swap.effect > limits.nothing:
            continue
        parts = swap.source.split(" <-> ") if " <-> " in swap.source else [swap.source.split(":")[0]]
        alone = [
            max((e.effect for e in effects if e.source == part and e.trained is swap.trained), default=0.0)
            for part in parts
        ]
        if not all(effect > limits.used for effect in alone):
            continue
        yield Found(
            message=f"Exchanging {swap.source} changes nothing ({swap.effect:.1g} of the output's spread), although "
            "each of them matters: they are averaged or pooled together, and the network cannot tell which is which.",
            standing=Standing.DEMONSTRATED,
            location=swap.where,
            numbers={"effect_of_swap": swap.effect, "effect_of_one": min(alone)},
            remedy="Encode each view separately (or add a view embedding) and keep them apart until they are put back "
            "along their own axis.",
        )
        return
