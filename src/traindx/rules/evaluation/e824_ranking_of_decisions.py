"""E824 ranking-of-decisions."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_evaluation import RankedScore
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "E824",
    "ranking-of-decisions",
    Severity.MAJOR,
    needs=(RankedScore,),
    looked_at=requires(
        RankedScore,
        lambda seen, limits: seen.samples >= limits.samples and seen.labels > 1,
        otherwise="too few predictions were ranked, or all of one class",
    ),
    thing="areas under curves",
    samples=Threshold(40, "predictions, of which a network gives no two alike"),
)
def ranking_of_decisions(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """An area under a curve is computed from decisions instead of scores.

    What it finds:
        ``auroc.update(probability > 0.5, label)``; ``roc_auc_score(y, logits.argmax(1))``.
    Why it stops learning:
        It does not; but the figure is that of one threshold (the mean of sensitivity and specificity), lower than the
        area, and a checkpoint chosen by it is the best at that threshold alone.
    Evidence it needs:
        RankedScore (a watched script that uses torchmetrics or scikit-learn).
    How it decides:
        All of at least `samples` predictions that such a score was given at a line are 0 or 1, and both occur (or
        they are integers or truth values, which may be all alike early in a training), and so do several labels:
        `suspected`.
    Remedy:
        Give it the probabilities or logits.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A classifier that gives nothing but decisions.
    References:
        Fawcett, An introduction to ROC analysis, Pattern Recognition Letters 27, 2006.
    """
    for seen in evidence.of(RankedScore):
        decided = seen.values == (0.0, 1.0) or (seen.whole and seen.values in ((0.0,), (1.0,)))
        if seen.samples < limits.samples or not decided or seen.labels < 2:
            continue
        yield Found(
            message=f"{seen.function} depends on the order of the predictions, and all {seen.samples} that it is given "
            "here are 0 or 1: it judges one threshold.",
            location=seen.where,
            numbers={"samples": seen.samples, "calls": seen.calls},
            remedy="Give it the probabilities or logits, before any threshold or argmax.",
        )
