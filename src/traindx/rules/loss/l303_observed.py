"""L303 term-without-gradient, seen in a watched script."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from traindx.evidence.base import Evidence
from traindx.evidence.observed_loss import ConstantTerm
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "L303",
    "term-without-gradient",
    Severity.MAJOR,
    needs=(ConstantTerm,),
    thing="changing constants that are added to a loss",
    looked_at=requires(
        ConstantTerm,
        lambda term, limits: len(term.values) >= limits.constant_looks,
        otherwise="what is added to the loss was watched too rarely",
    ),
    constant_changes=Threshold(
        0.01, "spread of the added value over the loss; epsilons and fixed offsets do not change"
    ),
    constant_looks=Threshold(3, "watched iterations with a different value"),
)
def constant_added(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Something is added to the loss that changes from step to step and carries no gradient.

    A Python number (``.item()``, ``float()``) or a detached tensor in the sum on which ``backward`` is called changes
    the value that is logged and nothing else. What is constant (an offset, a 1 in ``1 - dice``) is left alone.
    """
    for term in evidence.of(ConstantTerm):
        scale = median(map(abs, term.totals)) or 1.0
        spread = (max(term.values) - min(term.values)) / scale
        if len(set(term.values)) < limits.constant_looks or spread < limits.constant_changes:
            continue
        how = "a Python number" if term.how == "number" else "a tensor without gradient"
        cut = f", cut off at {term.cut}" if term.cut is not None and term.cut != term.where else ""
        yield Found(
            message=f"The loss adds {how} whose value changes from step to step ({min(term.values):.3g} to "
            f"{max(term.values):.3g}{cut}): that term teaches nothing.",
            standing=Standing.DEMONSTRATED,
            location=term.cut or term.where,
            numbers={"least": min(term.values), "greatest": max(term.values), "how": term.how},
            remedy="Leave out .item(), .detach() or no_grad on the way to this sum.",
        )
