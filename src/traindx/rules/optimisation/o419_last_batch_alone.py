"""O419 last-batch-alone."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_optim import OutputsDropped
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "O419",
    "last-batch-alone",
    Severity.CRITICAL,
    needs=(OutputsDropped,),
    looked_at=requires(
        OutputsDropped,
        lambda one, limits: one.steps >= limits.seen_steps,
        otherwise="there were not enough steps with several calls before them",
    ),
    thing="steps with several calls of a network before them",
    seen_steps=Threshold(2, "such steps: the first could be a warm-up"),
)
def last_batch_alone(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Many batches are passed through the network with gradients, and a step learns from the last one alone.

    What it finds:
        `loss.backward()` and `optimizer.step()` that stand after the loop over batches and not in it.
    Why it stops learning:
        One step a pass instead of one a batch, from one batch: a twentieth or a hundredth of the training.
    Evidence it needs:
        OutputsDropped (a watched script): the graph of each backward pass, gone through for the outputs of all calls
        of one line since the last step.
    How it decides:
        In at least `seen_steps` steps, and in all that were looked at, four or more calls in training mode come before
        the step, and the backward pass reaches the output of the last one and of no other: `demonstrated`. Losses that
        are summed up, or passed back one by one before a step, are all reached.
    Remedy:
        Move `zero_grad()`, `backward()` and `step()` into the loop.
    Trial it proposes:
        None; fix it.
    Known false positives:
        None known: examples that are chosen for a step are not always the last.
    References:
        None.
    """
    for one in evidence.of(OutputsDropped):
        if one.steps < limits.seen_steps or one.last_alone < one.steps:
            continue
        yield Found(
            message=f"A step learns from the last of {one.calls / one.steps:.0f} calls of {one.network} alone: of "
            f"{one.calls} outputs computed with gradients in training mode, a backward pass reached {one.learned}.",
            standing=Standing.DEMONSTRATED,
            location=one.where or one.called,
            numbers={"calls": one.calls, "learned": one.learned, "steps": one.steps},
            remedy="Move zero_grad(), backward() and step() into the loop over batches.",
        )
