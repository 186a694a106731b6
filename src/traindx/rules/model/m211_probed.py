"""M211 inputs-symmetric, from experiments on a running script."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.probed import InputProbed
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, Threshold, requires, rule
from traindx.rules.model._probed import by_argument


@rule(
    "M211",
    "inputs-symmetric",
    Severity.MAJOR,
    needs=(InputProbed,),
    looked_at=requires(
        InputProbed,
        lambda one, limits: one.change == "swap" and one.differs and one.dense and one.training,
        thing="inputs that could be swapped",
    ),
    probed_swap=Threshold(1e-5, "sums of float32 in another order; the smallest real effect of a swap was 2e-3"),
    probed_used=Threshold(1e-4, "an argument that does nothing at all is M205's"),
)
def arguments_symmetric(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The same in a script: two arguments of one shape are exchanged, and an image or volume comes out unchanged.

    `suspected`, since a script does not say whether the two are exchangeable by nature. Networks that give no image
    (similarity of a pair, a set of images for one diagnosis) are left alone: they are symmetric on purpose.
    """
    groups = by_argument(evidence)
    for (network, argument), records in groups.items():
        swaps = [one for one in records if one.change == "swap" and one.dense and one.training]
        if not swaps or any(one.effect > limits.probed_swap for one in swaps):
            continue
        alone = [
            max((one.effect for one in groups.get((network, part), [])), default=0.0)
            for part in argument.split(" <-> ")
        ]
        if min(alone) <= limits.probed_used:
            continue
        yield Found(
            variant="arguments-symmetric",
            message=f"Exchanging the arguments {argument} of {network} changes nothing, although each of them matters: "
            "they are averaged or pooled together, and the network cannot tell which is which.",
            location=swaps[0].where,
            numbers={"effect_of_swap": swaps[0].effect, "effect_of_one": min(alone)},
            remedy="Encode each separately (or add an embedding that tells them apart) and keep them apart until they "
            "are put back along their own axis.",
        )
