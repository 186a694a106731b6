"""M203 head-cannot-reach-target."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.model import HeadBounds
from traindx.finding import Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "M203",
    "head-cannot-reach-target",
    Severity.CRITICAL,
    needs=(HeadBounds,),
    share_outside=Threshold(0.01, "1 % of the values; outliers and round-off stay below"),
    lost=Threshold(0.01, "1 % of the targets' variance: an error that no training removes"),
)
def head_cannot_reach_target(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The last activation cannot produce the values that it is trained on.

    What it finds:
        A bounded last operation (tanh, sigmoid, softmax, ReLU, clamp) whose range, carried to the place where the loss
        compares prediction and target, does not cover the targets; for example a tanh before a noise target, or a
        sigmoid before data in [-1, 1].
    Why it stops learning:
        Values outside the range are pressed against its end, where the activation's gradient vanishes.
    Evidence it needs:
        HeadBounds (check *training-step*).
    How it decides:
        The bounded operation is driven to both of its ends while everything else stays as it is, and the values that
        arrive at the comparison are recorded. More than `share_outside` of the target's values must lie outside, and
        their mean square distance to the range must exceed `lost` of the targets' variance. Data that touches the end
        of the range (air at exactly -1 and a tanh) loses nothing. Then it is `demonstrated`.
    Remedy:
        A linear last layer, or an activation whose range is that of the targets.
    Trial it proposes:
        `unclamp` at that line, where the bound is a clamp.
    Known false positives:
        Targets with a few wrong values, which the head is right to refuse.
    References:
        None.
    """
    for head in evidence.of(HeadBounds):
        if head.share_outside <= limits.share_outside or head.lost <= limits.lost:
            continue
        proposals: tuple[Proposal, ...] = ()
        if head.where is not None and head.operation.startswith(("clamp", "clip", "hardtanh")):
            parameters = {"file": head.where.file, "line": head.where.line, "mode": "identity"}
            proposals = (Proposal(treatment="unclamp", parameters=parameters),)
        yield Found(
            message=f"The last activation ({head.operation}{' in ' + head.module if head.module else ''}) lets the "
            f"prediction reach [{head.low:.3g}, {head.high:.3g}], but it is trained on targets in "
            f"[{head.target_low:.3g}, {head.target_high:.3g}]: {100 * head.share_outside:.0f} % of them lie outside, "
            + (
                f"and {100 * head.lost:.0f} % of their variance cannot be learned."
                if head.lost < 1
                else "and the best answer in that range is no nearer to them than a constant, their mean."
            ),
            standing=Standing.DEMONSTRATED,
            location=head.where,
            numbers={"share_outside": round(head.share_outside, 5), "variance_lost": round(head.lost, 5)},
            remedy="Make the last layer linear, or give it an activation whose range is that of the targets.",
            proposals=proposals,
        )
