"""L322 weights-replaced-by-call."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_calls import LossStateSeen
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "L322",
    "weights-replaced-by-call",
    Severity.MAJOR,
    needs=(LossStateSeen,),
    looked_at=requires(
        LossStateSeen,
        lambda state, limits: state.calls >= limits.calls,
        otherwise="too few calls of the kind were watched",
    ),
    calls=Threshold(2, "calls; the second is the first that meets what the first one left behind"),
)
def weights_replaced_by_call(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A loss replaces its class weights by those of the batch.

    What it finds:
        `self.alpha = self.alpha[target]` in the loss's `forward`: one weight a class before the first call, one a
        sample of the last batch ever after.
    Why it stops learning:
        From the second call on labels index samples of the batch before: the balance of classes is lost, at random.
    Evidence it needs:
        LossStateSeen (a watched script).
    How it decides:
        A tensor that a loss kept before its first call has another shape afterwards, with the length of the batch, and
        was replaced in `calls` calls or more. `demonstrated`.
    Remedy:
        Give the weights of the batch a name of their own.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A buffer that is meant for the last batch and begins as a placeholder of another shape.
    References:
        Lin et al. 2017, Focal Loss for Dense Object Detection, equation 5 (weights by class).
    """
    for state in evidence.of(LossStateSeen):
        if state.calls < limits.calls or not state.as_batch or state.rewritten < limits.calls:
            continue
        if len(state.first_shape) != 1 or len(state.last_shape) != 1 or state.first_shape[0] < 2:
            continue
        yield Found(
            message=f"{state.loss} keeps {state.attribute} with {state.first_shape[0]} values, and its call replaces "
            f"it: after {state.calls} calls it holds {state.last_shape[0]}, one a sample of the last batch.",
            standing=Standing.DEMONSTRATED,
            location=state.rewritten_at or state.where,
            numbers={"calls": state.calls, "first": state.first_shape[0], "last": state.last_shape[0]},
            remedy=f"Assign to a local name in forward, not to self.{state.attribute}.",
        )
