"""L307 reduction-or-weighting: the rarer class of a concept is weighted down."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.regions import ClassWeighting
from traindx.finding import Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "L307",
    "reduction-or-weighting",
    Severity.MAJOR,
    needs=(ClassWeighting,),
    weighted=Threshold(0.6, "gradient of the rarer class over the commoner one; unweighted losses have 1"),
    rare=Threshold(0.4, "prior of the rarer class; nearer to one half neither class is rare"),
    seen=Threshold(10, "samples of either class, so that the prior means something"),
    focal=Threshold(
        0.02, "gradient of an easy negative over an undecided one; cross entropy 0.1, focal gamma 1: 0.012"
    ),
    canonical=Threshold(
        0.3, "weight of a positive with alpha = 0.25, 0.33, which Lin et al. found best with gamma = 2"
    ),
    swamped=Threshold(
        0.01, "prior below which alpha = 0.25 is what the paper chose it for: thousands of easy negatives"
    ),
)
def rarer_class_weighted_down(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A term that pulls less on the rarer class of a concept than on the commoner one.

    Where the network is undecided, the gradient of a positive over that of a negative is the weight of the positives:
    1 without weights, negatives over positives with balancing ones, alpha / (1 - alpha) in a focal loss, that is .33
    for alpha = .25. ``demonstrated`` where the class with a prior below ``rare`` has less than ``weighted`` of the
    other one's weight, for every concept of the term that has a rare class. A focal loss weights easy negatives down
    by its exponent, so that alpha = .25 was the best value with gamma = 2 (Lin et al., ICCV 2017, table 1): at the
    prior it was chosen for it is left alone, at others it is ``suspected``.
    """
    by_term: dict[str, list[ClassWeighting]] = {}
    for record in evidence.of(ClassWeighting):
        by_term.setdefault(record.term, []).append(record)
    for term, records in by_term.items():
        rare = []
        for record in records:
            fewer = min(record.positives, record.samples - record.positives)
            if fewer < limits.seen or fewer / record.samples >= limits.rare:
                continue
            positive_is_rare = record.positives == fewer
            rare.append((record, fewer / record.samples, record.ratio if positive_is_rare else 1 / record.ratio))
        if not rare or any(weight >= limits.weighted for _, _, weight in rare):
            continue
        record, prior, weight = min(rare, key=lambda one: one[2])
        focal = record.easy < limits.focal and weight >= limits.canonical
        if focal and prior < limits.swamped:
            continue
        which = "positives" if 2 * record.positives < record.samples else "negatives"
        yield Found(
            message=f"In the term {term!r} the {which} of {record.concept!r}, {100 * prior:.0f} % of the samples, "
            f"count {weight:.2f} times as much as the others where the network is undecided: the rarer class is "
            "weighted down.",
            standing=Standing.SUSPECTED if focal else Standing.DEMONSTRATED,
            location=record.where,
            numbers={"weight": round(weight, 3), "prior": round(prior, 3)},
            remedy="Weight the rarer class by negatives over positives, with a cap; in a focal loss raise alpha.",
            proposals=(Proposal(treatment="class-weights"),),
        )
