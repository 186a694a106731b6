"""L301 loss-prefers-worse."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.loss import StandInLoss
from traindx.finding import Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule
from traindx.rules.loss._order import preferred

WORSE = {
    "shuffled": "another sample's target",
    "blank": "a blank prediction",
    "inverted": "the target upside down in value",
    "near": "a slightly wrong one",
}


@rule(
    "L301",
    "loss-prefers-worse",
    Severity.CRITICAL,
    needs=(StandInLoss,),
    looked_at=requires(
        StandInLoss, lambda record, limits: record.judges_target, otherwise="no term of the loss depends on the target"
    ),
    margin=Threshold(0.02, "of the span of the five values: round-off and random terms stay below 1 %"),
)
def loss_prefers_worse(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The loss is smaller for a worse prediction than for the perfect one.

    What it finds:
        A sign, a swapped argument, a wrong range or a term that outweighs the task, so that going downhill leads away
        from the truth.
    Why it stops learning:
        It does learn, and what it learns is wrong.
    Evidence it needs:
        StandInLoss (check *loss-order*).
    How it decides:
        The network's answer is replaced by the target itself, by the target with 5 % noise, by another sample's, by a
        constant and by the target upside down. If the perfect one does not have the smallest total loss, by `margin` of
        the span of the values, it is `demonstrated` where it is certain what the network's output means (a declared
        prediction type, or a deployment path that turns it into the target), else `suspected`. A single term that
        prefers worse while the total does not is `suspected`, and only if the term looks at the target at all:
        regularisers prefer blank images by design.
    Remedy:
        Check the term's sign, the order of its arguments, and that prediction and target are in the same range.
    Trial it proposes:
        `flip-term` and `drop-term` for the term at fault.
    Known false positives:
        Adversarial and contrastive terms, for which the target is not the optimum.
    References:
        None.
    """
    records = {record.term: record for record in evidence.of(StandInLoss)}
    overall = records.get("total") or (next(iter(records.values())) if len(records) == 1 else None)
    fault_found = {term: preferred(record, limits.margin) for term, record in records.items() if record.judges_target}
    fault_found = {term: better for term, better in fault_found.items() if better}
    whole = overall is not None and overall.term in fault_found
    for term, better in fault_found.items():
        if whole and term == "total" and len(fault_found) > 1:
            continue  # the term at fault is named instead
        record = records[term]
        certain = whole and record.validated
        yield Found(
            message=f"The loss {'term ' + repr(term) + ' ' if term not in ('loss', 'total') else ''}prefers "
            f"{WORSE[better]} ({getattr(record, better):.4g}) to the perfect prediction ({record.perfect:.4g})"
            + (", and so does their sum." if whole and len(records) > 1 else "."),
            standing=Standing.DEMONSTRATED if certain else Standing.SUSPECTED,
            severity=None if whole else Severity.MAJOR,
            location=record.where,
            numbers={"perfect": record.perfect, **{name: getattr(record, name) for name in WORSE}},
            remedy="Check the sign, the order of the arguments, and that prediction and target share one range.",
            proposals=_proposals(term),
        )


def _proposals(term: str) -> tuple[Proposal, ...]:
    if term in ("loss", "total"):
        return ()
    return (
        Proposal(treatment="flip-term", parameters={"term": term}),
        Proposal(treatment="drop-term", parameters={"term": term}),
    )
