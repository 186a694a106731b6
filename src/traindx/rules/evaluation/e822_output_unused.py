"""E822 evaluation-output-unused."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_evaluation import EvaluationOutputs
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "E822",
    "evaluation-output-unused",
    Severity.CRITICAL,
    needs=(EvaluationOutputs,),
    looked_at=requires(
        EvaluationOutputs,
        lambda seen, limits: seen.phase == "validation" and seen.calls >= limits.calls,
        otherwise="no validation was seen whose outputs could be followed to their end",
    ),
    calls=Threshold(3, "calls whose outputs were followed to their end; fewer may be a trial run"),
    numbers=Threshold(0.9, "of the calls in which a number of a training step is read: once a batch"),
    batches=Threshold(2, "calls an evaluation, at least: beside a single batch the training loss may well be printed"),
    unused=Threshold(0.6, "of them: all but the last batch of a short evaluation"),
)
def evaluation_output_unused(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The network is called in evaluation, and nobody looks at what it gives.

    What it finds:
        An evaluation that computes ``val_outputs`` and then scores ``outputs``, those of the last training batch; one
        that scores the last batch alone, after the loop; one that sums the ``loss`` of the last training batch.
    Why it stops learning:
        It does not; but the figure says nothing of the network, and the best checkpoint is chosen at random.
    Evidence it needs:
        EvaluationOutputs (a watched script): every output of a validation is followed through the calls of torch.
    How it decides:
        At least `unused` of at least `calls` outputs of a validation, which a statement gives a name, were gone before
        any value of theirs was used, and the network has no hooks that could be what was wanted. If something that a
        training step had computed, with its graph, was used in between, that is what is scored: `demonstrated`, at
        that line. Without that `suspected`, at the call.
    Remedy:
        Score what the network gives for this batch.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A network that is called for what it keeps (features in an attribute), where the output has a name all the
        same; outputs that only compiled code of the user's takes.
    References:
        None.
    """
    for seen in evidence.of(EvaluationOutputs):
        often = seen.numbers >= max(limits.calls, limits.numbers * seen.calls)
        several = seen.calls >= max(limits.calls, limits.batches * seen.evaluations)
        if seen.phase == "validation" and seen.number_at is not None and often and several:
            yield Found(
                variant="training-number-summed",
                message=f"In validation this line reads a number of a training step, with its graph, {seen.numbers} "
                f"times in {seen.calls} calls of {seen.network}: what is summed is that of the last training batch.",
                standing=Standing.SUSPECTED,
                location=seen.number_at,
                numbers={"calls": seen.calls, "numbers": seen.numbers},
                remedy="Compute the loss of this batch before it is summed.",
            )
            continue
        few = seen.calls < limits.calls or seen.unused < limits.unused * seen.calls
        if seen.phase != "validation" or few or not seen.assigned or seen.hooked:
            continue
        numbers = {"calls": seen.calls, "unused": seen.unused, "stale": seen.stale}
        gives = f"what {seen.network} gives for a batch ({seen.assigned})"
        if seen.stale_at is not None and seen.stale >= limits.calls:
            yield Found(
                variant="training-scored",
                message=f"In validation {gives} is used by nobody in {seen.unused} of {seen.calls} calls, and this "
                "line uses what a training step computed instead: the figure is that of a training batch held against "
                "other samples.",
                standing=Standing.DEMONSTRATED,
                location=seen.stale_at,
                numbers=numbers,
                remedy=f"Use {seen.assigned} here.",
            )
            continue
        last = seen.last_used and seen.unused < seen.calls
        yield Found(
            variant="last-batch-scored" if last else "nothing-scored",
            message=f"In validation {gives} is used by nobody in {seen.unused} of {seen.calls} calls"
            + (": the figure is that of the last batch alone." if last else ": the figure cannot depend on it."),
            standing=Standing.SUSPECTED,
            location=seen.where,
            numbers=numbers,
            remedy="Score what the network gives for every batch, inside the loop.",
        )
