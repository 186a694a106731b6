"""D101 modality-range-mismatch, decided from the conditions of a case."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.model_in_use import ConditionRange
from traindx.finding import Proposal, Severity
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "D101",
    "modality-range-mismatch",
    Severity.MINOR,
    needs=(ConditionRange,),
    looked_at=requires(
        ConditionRange,
        lambda seen, limits: seen.distinct >= limits.conditions_distinct,
        thing="second image that conditions the network",
        least=2,
    ),
    conditions_factor=Threshold(6.0, "widest over narrowest range, as for the channels of a watched network"),
    conditions_distinct=Threshold(8, "distinct values; masks and constants are not images"),
)
def conditions_differ_in_range(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Two images that a network is conditioned on have very different ranges.

    1st to 99th percentile of every condition; the widest over the narrowest. ``suspected``: in the case that this rule
    grew from it mostly changed the meaning of the metric, and a trial has to say what it is worth.
    """
    ranges = {
        seen.condition: seen
        for seen in evidence.of(ConditionRange)
        if seen.distinct >= limits.conditions_distinct and seen.high > seen.low
    }
    if len(ranges) < 2:
        return
    weak = min(ranges.values(), key=lambda seen: seen.high - seen.low)
    strong = max(ranges.values(), key=lambda seen: seen.high - seen.low)
    factor = (strong.high - strong.low) / (weak.high - weak.low)
    if factor <= limits.conditions_factor:
        return
    yield Found(
        message=f"Condition {strong.condition!r} spans {strong.low:.3g} to {strong.high:.3g}, {weak.condition!r} only "
        f"{weak.low:.3g} to {weak.high:.3g}: {factor:.0f} times less.",
        location=weak.where,
        numbers={"factor": factor, "weak": weak.condition, "strong": strong.condition},
        remedy="Normalise every condition to the same range.",
        proposals=(Proposal(treatment="renormalise", parameters={}),),
    )
