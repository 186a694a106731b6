"""E812 predictions-out-of-order, from tensors that were followed from their batch to where they meet."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_evaluation import EvaluationPairs
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "E812",
    "predictions-out-of-order",
    Severity.MAJOR,
    needs=(EvaluationPairs,),
    thing="outputs that meet the tensors of a batch in evaluation",
    pairs=Threshold(3, "times that predictions met tensors of other batches at a line, and never those of their own"),
)
def held_against_other_batches(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Predictions meet labels of other items, and never their own.

    A batch is known by its data set and its number in the pass, or by the pass as well where the loader shuffles. At a
    line where outputs of a validation meet as many samples of some batch, it was at least `pairs` times another batch
    than the network was given, and never the same: `suspected`. That a script compares with other samples on purpose
    (a bank of neighbours, the batch before) cannot be told from what was seen.
    """
    for seen in evidence.of(EvaluationPairs):
        if seen.same or seen.other < limits.pairs:
            continue
        whose = "the last training batch" if seen.training else "other batches"
        again = " from another pass, in which a shuffling loader gives another order" if seen.shuffled else ""
        yield Found(
            variant="other-batches",
            message=f"In evaluation outputs of {seen.network} meet values of {whose}{again} here ({seen.other} times), "
            "and never those of the samples that it was given.",
            location=seen.where,
            numbers={"other": seen.other, "same": seen.same},
            remedy="Compare predictions with the labels that came in the same batch.",
        )
