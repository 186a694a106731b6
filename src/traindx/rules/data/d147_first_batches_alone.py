"""D147 first-batches-alone."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_state import LoaderSeen
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


def _begins_anew(one: LoaderSeen, limits: Limits) -> bool:
    return one.trains and one.batches > 1 and one.passes >= limits.begun


@rule(
    "D147",
    "first-batches-alone",
    Severity.CRITICAL,
    needs=(LoaderSeen,),
    looked_at=requires(LoaderSeen, _begins_anew, otherwise="no training loader was begun often enough"),
    begun=Threshold(10, "passes; a loop that is cut short once or twice may be a warm-up"),
    part=Threshold(0.5, "of the batches at most; a last part that is left out is another matter"),
)
def first_batches_alone(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A training loader without shuffling is begun again and again, and never goes beyond its first batches.

    What it finds:
        `next(iter(loader))` in every step; a loop over a loader that is left after some batches.
    Why it stops learning:
        The network sees the same few samples for the whole training, and learns them by heart.
    Evidence it needs:
        LoaderSeen (a watched script): where each pass over a loader ended.
    How it decides:
        The loader feeds the training, draws in a fixed order, was begun at least `begun` times, and no pass went beyond
        `part` of its batches: `demonstrated`.
    Remedy:
        Keep one iterator over the whole pass (`for batch in loader`), and shuffle.
    Trial it proposes:
        None; fix it.
    Known false positives:
        Overfitting a few batches on purpose, to see whether the network can.
    References:
        None.
    """
    for one in evidence.of(LoaderSeen):
        if not _begins_anew(one, limits) or not one.in_order or one.deepest > limits.part * one.batches:
            continue
        seen = "its first batch" if one.deepest == 1 else f"its first {one.deepest} batches"
        yield Found(
            message=f"This loader was begun {one.passes} times, always in the same order, and never read beyond {seen} "
            f"of {one.batches}: the training sees the same {one.deepest * max(one.batch_size, 1)} samples for ever.",
            standing=Standing.DEMONSTRATED,
            location=one.where,
            numbers={"passes": one.passes, "deepest": one.deepest, "batches": one.batches},
            remedy="Make the iterator once a pass (for batch in loader), and shuffle.",
        )
