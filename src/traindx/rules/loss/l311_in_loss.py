"""L311 term-saturated-or-swallowed, for the loss of a case."""

from __future__ import annotations

import math
from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.loss import StandInLoss, SwallowedInLoss, TermGradient
from traindx.evidence.observed_loss import ClampSeen
from traindx.finding import Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule("L311", "term-saturated-or-swallowed", Severity.CRITICAL, needs=(SwallowedInLoss,))
def swallowed_in_loss(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """An operation of the loss raises every time, the loss goes on, and a term of it is a constant.

    ``demonstrated`` where the same exception at the same line was raised in every loss that was computed, and one of
    the terms is connected to no parameter and has the same value each time.
    """
    for record in evidence.of(SwallowedInLoss):
        if record.raised < record.losses or not record.constant_terms:
            continue
        terms = ", ".join(repr(name) for name in record.constant_terms)
        yield Found(
            message=f"{record.function} raises in every loss ({record.error}), an except hides it, and {terms} "
            f"{'is' if len(record.constant_terms) == 1 else 'are'} constant.",
            standing=Standing.DEMONSTRATED,
            severity=Severity.MAJOR,
            location=record.where,
            numbers={"raised": record.raised, "losses": record.losses},
            remedy="Mend what raises here, and let the except catch only what is expected.",
        )


@rule(
    "L311",
    "term-saturated-or-swallowed",
    Severity.CRITICAL,
    needs=(TermGradient, StandInLoss),
    same=Threshold(1e-6, "relative difference of values at the ceiling; round-off of float32"),
    blocked=Threshold(0.9, "share of the gradient that a clamp stops; L306 names its line then, as in most_lost there"),
)
def term_saturated(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A term is at its ceiling: it is smaller for the truth, and has no gradient where the training begins.

    The term is connected to the parameters, its gradient is exactly zero in every draw and its value does not move with
    the weights, although it is smaller for the perfect prediction. ``demonstrated`` where a prediction within 5 % of
    the truth is at the ceiling too, so that training never leaves it; else ``suspected``. Where a clamp is seen to stop
    the gradient, L306 says so with its line, and this rule is silent.
    """
    if any(clamp.reaches_loss and clamp.gradient_lost >= limits.blocked for clamp in evidence.of(ClampSeen)):
        return
    orders = {record.term: record for record in evidence.of(StandInLoss)}
    for term in evidence.of(TermGradient):
        order = orders.get(term.term)
        if order is None or not term.differentiable or term.norm != 0 or term.moves or term.value == 0:
            continue
        ceiling = term.value

        def at(value: float, ceiling: float = ceiling) -> bool:
            return math.isclose(value, ceiling, rel_tol=limits.same)

        if at(order.perfect) or order.perfect > ceiling or not (at(order.blank) or at(order.inverted)):
            continue
        never = at(order.near)
        yield Found(
            message=f"The loss term {term.term!r} is at its ceiling, {ceiling:.4g}, with a gradient of exactly zero"
            + (f", even within 5 % of the truth (at the truth: {order.perfect:.3g})." if never else "."),
            standing=Standing.DEMONSTRATED if never and order.validated else Standing.SUSPECTED,
            severity=Severity.MAJOR,
            location=term.where,
            numbers={"ceiling": ceiling, "at_truth": order.perfect, "near_truth": order.near},
            remedy="Take the bound off the term, or divide by the number of elements before it.",
            proposals=(Proposal(treatment="drop-term", parameters={"term": term.term}),),
        )
