"""E806 evaluated-on-training-data."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.evaluation import SharedSamples
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, rule


@rule("E806", "evaluated-on-training-data", Severity.CRITICAL, needs=(SharedSamples,))
def evaluated_on_training_data(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Validation samples are among the training samples.

    What it finds:
        A validation that reads the training folder, one patient who was taken from the training set, a split that is
        made after the images were cut.
    Why it stops learning:
        It does not; but the best checkpoint is the one that memorises best, and the figure holds for nobody else.
    Evidence it needs:
        SharedSamples (check *shared-samples*).
    How it decides:
        The largest tensor of every sample is compared bit by bit between the splits, as the loaders hand them out. One
        sample in both is enough: `demonstrated`. Constant images are left out. What is augmented or cut at random never
        agrees bit by bit, and is D108's question.
    Remedy:
        Split by patient, and report the figure again.
    Trial it proposes:
        None; the figure is measured again.
    Known false positives:
        A check that a network can overfit, for which both splits are one on purpose.
    References:
        Post-mortem of the progressive cascade: one validation patient, taken from the training set.
    """
    for record in evidence.of(SharedSamples):
        if not record.shared:
            continue
        yield Found(
            message=f"{record.shared} of {record.val} validation samples are among the {record.train} training "
            "samples, bit by bit: the figure of merit is that of memory.",
            standing=Standing.DEMONSTRATED,
            location=record.where,
            numbers={"shared": record.shared, "val": record.val, "train": record.train},
            remedy="Split by patient before anything else, and measure again.",
        )
