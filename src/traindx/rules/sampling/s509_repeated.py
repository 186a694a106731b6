"""S509 guidance-without-effect, from calls of a watched script that differ in one argument."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_calls import ArgumentTried
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "S509",
    "guidance-without-effect",
    Severity.MAJOR,
    needs=(ArgumentTried,),
    looked_at=requires(
        ArgumentTried, lambda one, limits: one.pairs >= limits.pairs, thing="calls that differ in one argument alone"
    ),
    pairs=Threshold(4, "pairs of calls, all of them with one and the same output"),
)
def argument_without_effect(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A network is called twice with everything alike but one argument, and gives the same output bit by bit.

    That is how a script asks for an answer with and without a condition. In `pairs` pairs or more, and in every one,
    the number or the tensor that was changed made no difference: `demonstrated`. Masks, flags and texts are left
    alone, as two of them may mean the same. A number between 0 and 1 that the network is told in training (the share
    of conditions to drop, of patches to hide) is replaced by 0 and by 1 with the same random numbers.
    """
    tried: dict[tuple[str, str, bool], list[ArgumentTried]] = {}
    for one in evidence.of(ArgumentTried):
        tried.setdefault((one.network, one.argument, one.probed), []).append(one)
    for (network, argument, probed), members in tried.items():
        pairs, same = sum(one.pairs for one in members), sum(one.same for one in members)
        if pairs < limits.pairs or same < pairs:
            continue
        one = members[-1]
        values = f" ({one.values[0]} and {one.values[1]})" if one.values[0] else ""
        how = f"is told {argument} in training" if probed else f"is called in pairs that differ in {argument} alone"
        trials = f"with 0 and with 1 instead in {same} of {pairs} trials" if probed else f"in {same} of {pairs}{values}"
        yield Found(
            variant="argument",
            message=f"{network} {how}, and gives the same output, bit by bit, {trials}: the argument has no effect.",
            standing=Standing.DEMONSTRATED,
            location=one.where,
            numbers={"pairs": pairs, "same": same, "argument": argument},
            remedy="Use the argument where the network combines its conditions; what is made of it is not used.",
        )
