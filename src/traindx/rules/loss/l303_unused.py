"""L303 term-without-gradient, where a term reaches only weights that no step moves with it."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_loss import TermReachSeen
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "L303",
    "term-without-gradient",
    Severity.MAJOR,
    needs=(TermReachSeen,),
    thing="terms of a loss and the weights that they reach",
    looked_at=requires(
        TermReachSeen,
        lambda term, limits: term.used + term.unused >= limits.reach_looks,
        otherwise="what becomes of their gradients was watched too rarely",
    ),
    reach_looks=Threshold(3, "backward passes, each followed to the steps after it"),
)
def term_reaches_other_weights(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A term of the loss reaches only weights that the step after it does not move.

    The score of a detached image in a generator's loss has a gradient, for the discriminator, and it is cleared before
    the discriminator steps; a learned factor of a loss that no optimiser holds stays what it was. `demonstrated` if in
    `reach_looks` backward passes no step ever used such a gradient, while a step did use the rest of the same loss. It
    is a matter of the graph: a term that is satisfied for the moment reaches what it reaches.
    """
    for term in evidence.of(TermReachSeen):
        if term.used or term.unused < limits.reach_looks:
            continue
        which = f"weights of {term.weights}" if term.weights else "weights"
        if term.held:
            what = f"{which} whose gradients are cleared before their own optimiser steps"
        else:
            what = f"{which} that no optimiser holds"
        yield Found(
            variant="term-reaches-other-weights",
            message=f"{term.name or 'A term of the loss'} reaches only {what}; the step that follows moves others "
            f"({term.unused} of {term.unused} backward passes that were followed): the term teaches nothing.",
            standing=Standing.DEMONSTRATED,
            severity=Severity.CRITICAL if term.held else Severity.MAJOR,
            location=term.where,
            numbers={"unused": term.unused},
            remedy="Compute the term from what is to be trained, without .detach() or no_grad on the way"
            if term.held
            else "Hand these weights to an optimiser, or leave the term out.",
        )
