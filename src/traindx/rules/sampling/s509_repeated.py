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
    alone, as two of them may mean the same.
    """
    for one in evidence.of(ArgumentTried):
        if one.pairs < limits.pairs or one.same < one.pairs:
            continue
        values = f" ({one.values[0]} and {one.values[1]})" if one.values[0] else ""
        yield Found(
            variant="argument",
            message=f"{one.network} is called in pairs that differ in {one.argument} alone{values}, and gives the same "
            f"output, bit by bit, in {one.same} of {one.pairs}: the argument has no effect.",
            standing=Standing.DEMONSTRATED,
            location=one.where,
            numbers={"pairs": one.pairs, "same": one.same, "argument": one.argument},
            remedy="Use the argument where the network combines its conditions; what is made of it is not used.",
        )
