"""D113 label-values-undeclared, seen where targets meet predictions in a watched script."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed import IterationsSeen
from traindx.evidence.observed_loss import LossCall, TargetSeen
from traindx.finding import Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, Nothing, Threshold, rule

_BINARY = ("binary_cross_entropy", "binary_cross_entropy_with_logits")


def _binary_targets(evidence: Evidence, limits: Limits) -> Nothing | None:
    """A comparison was seen, and one that only takes values between 0 and 1."""
    calls, targets = evidence.of(LossCall), evidence.of(TargetSeen)
    if not calls and not targets:
        return Nothing("no comparison of a prediction with a target was seen")
    binary = any(call.function in _BINARY for call in calls) or any(one.prediction_from == "sigmoid" for one in targets)
    return None if binary else Nothing("", "binary targets")


@rule(
    "D113",
    "label-values-undeclared",
    Severity.CRITICAL,
    needs=(IterationsSeen,),
    looked_at=_binary_targets,
    binary_slack=Threshold(0.01, "how far above 1 a target may be: label smoothing and interpolation stay within"),
)
def targets_undeclared(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A target has values that its loss cannot mean: 255 or 2 where probabilities between 0 and 1 are compared.

    In a binary cross-entropy this is ``demonstrated``; in arithmetic written by hand, a target of few whole numbers
    above 1 that meets the output of a sigmoid is ``suspected``.
    """
    reported = False
    for call in evidence.of(LossCall):
        if call.function in _BINARY and (
            call.target_high > 1 + limits.binary_slack or call.target_low < -limits.binary_slack
        ):
            reported = True
            share = sum(s for v, s in zip(call.target_values, call.target_share, strict=True) if v not in (0.0, 1.0))
            values = (
                ", ".join(f"{value:g}" for value in call.target_values)
                or f"{call.target_low:g} to {call.target_high:g}"
            )
            yield Found(
                message=f"{call.function} compares with targets of {values}: only 0 to 1 mean anything to it"
                + (f", and {100 * share:.0f} % of the values are outside." if share else "."),
                standing=Standing.DEMONSTRATED,
                location=call.where,
                numbers={"low": call.target_low, "high": call.target_high, "values": values},
                remedy=_remedy(call.target_values, call.target_high),
                proposals=_ignore(call.target_values),
            )
    for seen in evidence.of(TargetSeen):
        odd = [value for value in seen.values if value not in (0.0, 1.0)]
        if reported or seen.prediction_from != "sigmoid" or not odd or 0.0 not in seen.values or min(odd) < 0:
            continue
        reported = True
        yield Found(
            message=f"A target with the values {', '.join(f'{value:g}' for value in seen.values)} meets the output of "
            "a sigmoid, which lies between 0 and 1.",
            location=seen.where,
            numbers={"values": ", ".join(f"{value:g}" for value in seen.values)},
            remedy=_remedy(seen.values, seen.high),
            proposals=_ignore(seen.values),
        )


def _remedy(values: tuple[float, ...], high: float) -> str:
    if high == 255:
        return "Divide the mask by 255, or compare it with 127."
    if 2.0 in values:
        return (
            "Decide what the values above 1 mean: another class needs its own output, 'unlabelled' must be masked out."
        )
    return "Bring the target to 0 and 1 before the loss."


def _ignore(values: tuple[float, ...]) -> tuple[Proposal, ...]:
    odd = [value for value in values if value not in (0.0, 1.0)]
    if len(odd) != 1:
        return ()
    name = "rescale-label" if odd[0] == 255.0 else "ignore-label"  # a mask saved as 8 bit, or a value of its own
    return (Proposal(treatment=name, parameters={"value": odd[0]}),)
