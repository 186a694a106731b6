"""E812 predictions-out-of-order."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_items import ReadingOrder
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, rule


@rule(
    "E812",
    "predictions-out-of-order",
    Severity.MAJOR,
    needs=(ReadingOrder,),
    thing="shuffled loaders",
)
def predictions_out_of_order(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Predictions are collected from a shuffled loader whose labels are dropped.

    What it finds:
        ``torch.cat([net(x) for x, _ in loader])`` where `loader` shuffles: the predictions come in another order each
        time, and are compared with labels in the order of the files.
    Why it stops learning:
        It does not; but the figure is that of labels dealt at random, whatever the network knows.
    Evidence it needs:
        ReadingOrder (a watched script).
    How it decides:
        A loader with a random sampler that does not train is read by a loop that drops everything but the input and
        collects what it computes. Where the predictions go was not followed: `suspected`.
    Remedy:
        ``shuffle=False`` for whatever is evaluated, or take the labels from the same batches.
    Trial it proposes:
        The patch that `traindx fix` shows, where the line allows one.
    Known false positives:
        Outputs that are collected to be looked at, or for their statistics alone.
    References:
        None.
    """
    for seen in evidence.of(ReadingOrder):
        if seen.trains or not seen.drops_labels or not seen.collects:
            continue
        yield Found(
            message=f"Predictions for {seen.dataset} are collected from a shuffled loader at {seen.read_at}, and the "
            "labels of its batches are dropped: labels taken from elsewhere are in another order.",
            location=seen.where,
            numbers={"batches": seen.read},
            remedy="Construct this loader with shuffle=False.",
        )
