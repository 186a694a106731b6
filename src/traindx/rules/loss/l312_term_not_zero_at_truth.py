"""L312 term-not-zero-at-truth."""

from __future__ import annotations

import math
from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.loss import StandInLoss
from traindx.finding import Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule
from traindx.rules.loss._order import preferred

MARGIN = 0.02  # as in L301


@rule(
    "L312",
    "term-not-zero-at-truth",
    Severity.MINOR,
    needs=(StandInLoss,),
    looked_at=requires(
        StandInLoss, lambda record, limits: record.judges_target, otherwise="no term of the loss depends on the target"
    ),
    share=Threshold(0.2, "of the value for a blank or foreign prediction; smoothing and soft labels stay below 0.1"),
    downhill=Threshold(0.1, "of the gap between truth and blank: a floor has no downhill, another optimum has"),
)
def term_not_zero_at_truth(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A loss term still has something to complain about when the prediction is exactly right.

    What it finds:
        Terms whose optimum is not the truth: a re-projection in [0, 1] against a radiograph in [-1, 1], a term for
        another target, a metric of two things that never agree.
    Why it stops learning:
        Near the truth this term's gradient does not vanish and pulls away from it; the sum of all terms settles in
        between.
    Evidence it needs:
        StandInLoss (check *loss-order*).
    How it decides:
        With the target itself as prediction, the term is above `share` of its value for a blank or foreign prediction
        (the smaller of the two). If small steps downhill from the truth lower it by more than `downhill` of the gap
        between the two, its optimum is elsewhere: `demonstrated` where it is certain what the network's output means,
        else `suspected`. Without downhill it is a floor (soft labels, smoothing), which costs nothing but the reading
        of the curve: reported as a note.
    Remedy:
        Bring both sides of the term into the same range and geometry; check it with the truth on both sides.
    Trial it proposes:
        `drop-term`.
    Known false positives:
        Robust or adversarial terms whose zero is not reachable.
    References:
        None.
    """
    records = evidence.of(StandInLoss)
    for record in records:
        if not record.judges_target or (record.term == "total" and len(records) > 1):
            continue
        wrong = min(record.blank, record.shuffled)
        gap = wrong - record.perfect
        if record.perfect <= limits.share * wrong or preferred(record, MARGIN):
            continue  # a term that prefers worse is L301's
        downhill = record.perfect - record.descended if math.isfinite(record.descended) else 0.0
        elsewhere = downhill > limits.downhill * max(gap, limits.share * record.perfect)
        certain = elsewhere and record.validated
        tail = (
            f"and falls to {record.descended:.4g} a small step away from it: its optimum is elsewhere."
            if elsewhere
            else "a floor that no training removes."
        )
        yield Found(
            message=f"The loss term {record.term!r} is {record.perfect:.4g} when the prediction is exactly right "
            f"(another sample's: {record.shuffled:.4g}, blank: {record.blank:.4g}), {tail}",
            standing=Standing.DEMONSTRATED if certain else Standing.SUSPECTED,
            severity=None if elsewhere else Severity.NOTE,
            location=record.where,
            numbers={
                "at_truth": record.perfect,
                "blank": record.blank,
                "shuffled": record.shuffled,
                "downhill": record.descended,
            },
            remedy="Give the truth to both sides of this term and make it zero: same range, same geometry, same order.",
            proposals=(Proposal(treatment="drop-term", parameters={"term": record.term}),)
            if elsewhere and len(records) > 1
            else (),
        )
