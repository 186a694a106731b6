"""C1106 ddp-bypassed, seen on one rank: the network inside the wrapper is what is trained."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed import WrapperBypassed
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "C1106",
    "ddp-bypassed",
    Severity.CRITICAL,
    needs=(WrapperBypassed,),
    thing="networks that are wrapped for distributed training",
    looked_at=requires(
        WrapperBypassed,
        lambda one, limits: one.through + one.past >= limits.past,
        otherwise="they were called too rarely",
    ),
    past=Threshold(4, "calls with gradients past the wrapper, so that a look at its shapes decides nothing"),
)
def wrapper_bypassed(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Training calls the network that the wrapper holds, and never the wrapper.

    Gradients are averaged over the ranks by what the wrapper's own call prepares; `wrapper.module(x)` leaves every rank
    to train a network of its own. `demonstrated` if at least `past` calls with gradients go past the wrapper and none
    through it, in a group of several; `suspected` in a group of one, where it does no harm yet.
    """
    for one in evidence.of(WrapperBypassed):
        if one.through or one.past < limits.past:
            continue
        many = one.ranks > 1
        yield Found(
            variant="wrapper-bypassed",
            message=f"The network inside DistributedDataParallel is trained ({one.past} calls with gradients), and the "
            "wrapper is never called: gradients are not averaged"
            + (f", and {one.ranks} ranks train {one.ranks} networks." if many else " once there are several ranks."),
            standing=Standing.DEMONSTRATED if many else Standing.SUSPECTED,
            severity=Severity.CRITICAL if many else Severity.MINOR,
            location=one.where,
            numbers={"past": one.past, "ranks": one.ranks},
            remedy="Call the wrapper itself where gradients are wanted; `.module` is for saving and for evaluation.",
        )
