"""L302 term-dominates, for the terms of a case."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.loss import StandInLoss, TermGradient
from traindx.finding import Proposal, Severity
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "L302",
    "term-dominates",
    Severity.MAJOR,
    needs=(TermGradient, StandInLoss),
    looked_at=requires(TermGradient, thing="loss of several terms", least=2),
    uninformed=Threshold(
        0.02, "share of a term's span between the truth and the truth upside down; a task term uses all"
    ),
    lead=Threshold(0.5, "share of all gradient norms: more than every other term together"),
)
def uninformed_term_leads(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A term that cannot tell the truth from its opposite gives more gradient than all others together.

    Such a term shapes the output whatever the data say. ``suspected``; the trials ``reweight-term`` and ``drop-term``
    prove it.
    """
    known = {record.term: record for record in evidence.of(StandInLoss)}
    terms = evidence.of(TermGradient)
    for term in terms:
        record = known.get(term.term)
        if record is None or len(terms) < 2 or not term.share > limits.lead:
            continue
        values = (record.perfect, record.near, record.shuffled, record.blank, record.inverted)
        span = max(values) - min(values)
        if span <= 0 or abs(record.inverted - record.perfect) > limits.uninformed * span:
            continue
        yield Found(
            message=f"The term {term.term!r} has {term.share:.0%} of the gradient at the start, and cannot tell the "
            f"truth ({record.perfect:.3g}) from the truth upside down ({record.inverted:.3g}).",
            location=term.where,
            numbers={"share": term.share, "at_truth": record.perfect, "inverted": record.inverted},
            remedy="Lower its weight until its share is near a tenth, or warm it up.",
            proposals=(
                Proposal(treatment="reweight-term", parameters={"term": term.term, "factor": 0.01}),
                Proposal(treatment="drop-term", parameters={"term": term.term}),
            ),
        )
