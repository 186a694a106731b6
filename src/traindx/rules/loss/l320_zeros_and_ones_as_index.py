"""L320 zeros-and-ones-as-index."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_calls import IntegerIndexSeen
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "L320",
    "zeros-and-ones-as-index",
    Severity.MAJOR,
    needs=(IntegerIndexSeen,),
    looked_at=requires(
        IntegerIndexSeen,
        lambda index, limits: index.calls >= limits.calls,
        otherwise="too few calls of the kind were watched",
    ),
    calls=Threshold(3, "calls in which the index was as long as the axis and held zeros and ones alone"),
)
def zeros_and_ones_as_index(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A mask of integers picks elements 0 and 1 over and over instead of selecting.

    What it finds:
        `risk[event]` with an `event` of integers 0 and 1, as long as `risk`: not the elements with an event, but
        elements 0 and 1, once for every patient.
    Why it stops learning:
        Two samples of a batch stand for all of them; the loss looks plausible.
    Evidence it needs:
        IntegerIndexSeen (a watched script).
    How it decides:
        In all calls looked at (at least `calls`) the index is as long as the axis, which has four elements or more,
        and holds zeros and ones alone. `demonstrated`.
    Remedy:
        `event.bool()`.
    Trial it proposes:
        The patch that `traindx fix` shows, where the line allows one.
    Known false positives:
        A table of as many rows as the batch has samples, of which only the first two are ever asked for.
    References:
        PyTorch documentation, indexing: integer tensors gather, boolean tensors select.
    """
    for index in evidence.of(IntegerIndexSeen):
        if index.binary < limits.calls or index.other:
            continue
        yield Found(
            message=f"An axis of {index.length} elements is indexed with {index.length} integers, 0 or 1 in all "
            f"{index.binary} calls: that gives element 0 and element 1 over and over, and selects nothing.",
            standing=Standing.DEMONSTRATED,
            location=index.where,
            numbers={"calls": index.binary, "length": index.length},
            remedy="Make the index a mask: index.bool().",
        )
