"""L323 targets-never-vary."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_loss import LossCall
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule

_TWO_CLASS = ("binary_cross_entropy", "binary_cross_entropy_with_logits")


@rule(
    "L323",
    "targets-never-vary",
    Severity.CRITICAL,
    needs=(LossCall,),
    looked_at=requires(
        LossCall,
        lambda call, limits: call.phase == "training" and call.function in _TWO_CLASS,
        otherwise="no two-class loss was seen in training",
        thing="two-class losses",
    ),
    constant_calls=Threshold(6, "calls in all; a batch without a positive is no rarity"),
)
def targets_never_vary(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Every two-class loss of the script has a target of 1 everywhere, so a constant output is its optimum.

    What it finds:
        ``bce(p_negative, labels_negative + 1)`` where the labels of negatives are 0 already; a detector that is only
        ever told yes.
    Why it stops learning:
        An output that says the same of everything solves the task as it was set.
    Evidence it needs:
        LossCall (a watched script).
    How it decides:
        All calls of binary cross-entropy in training, at all lines together, had targets of 1 alone, in at least
        `constant_calls` calls that were looked at: `demonstrated`. Targets of 0 alone are what a rare finding
        gives. An adversarial training has one value at each line and two in all.
    Remedy:
        Give negatives a target of 0 and positives one of 1.
    Trial it proposes:
        None; fix it.
    Known false positives:
        Learning from positives alone, where another term keeps the output from being constant.
    References:
        None.
    """
    calls = [call for call in evidence.of(LossCall) if call.phase == "training" and call.function in _TWO_CLASS]
    values = {value for call in calls for value in (call.target_low, call.target_high)}
    if sum(call.calls for call in calls) < limits.constant_calls:
        return
    if values != {1.0}:
        return
    call = max(calls, key=lambda one: one.where.line if one.where is not None else 0)
    count = sum(call.calls for call in calls)
    yield Found(
        message=f"Every target of a two-class loss was 1 in all {count} calls that were "
        f"looked at: an output that always says 1 is optimal.",
        standing=Standing.DEMONSTRATED,
        location=call.where,
        numbers={"calls": sum(call.calls for call in calls)},
        remedy="Give the loss targets of 0, too.",
    )
