"""M217 mask-hides-nothing."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_evaluation import MaskGiven
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "M217",
    "mask-hides-nothing",
    Severity.MAJOR,
    needs=(MaskGiven,),
    looked_at=requires(
        MaskGiven,
        lambda seen, limits: seen.padded >= limits.padded_calls,
        otherwise="no batch with sequences of several lengths was seen",
    ),
    thing="masks beside sequences",
    padded_calls=Threshold(4, "calls with padded sequences of several lengths; one batch may be as long by chance"),
)
def mask_hides_nothing(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A network is given padded sequences and a mask that is the same everywhere, so it attends to the padding.

    What it finds:
        A mask that begins as ones and in which only ones are written; one that is made before the padding is added.
    Why it stops learning:
        Attention and means include the padding: what a sample gets depends on how long the others of its batch are,
        and on the length that evaluation pads to.
    Evidence it needs:
        MaskGiven (a watched script): two-dimensional arguments named for a mask, beside sequences.
    How it decides:
        In at least `padded_calls` calls the sequences end in repetitions of one value, of several lengths, and in all
        calls that were looked at the mask has one value, not zero: `suspected`, placed where the mask was made.
    Remedy:
        Begin with zeros and write ones where tokens are, or compare the tokens with the padding.
    Trial it proposes:
        None; fix it.
    Known false positives:
        Sequences whose contents end in repetitions of one value that is no padding.
    References:
        Vaswani et al., Attention is all you need, NeurIPS 2017.
    """
    for seen in evidence.of(MaskGiven):
        if seen.padded < limits.padded_calls or seen.constant < seen.calls:
            continue
        yield Found(
            message=f"{seen.argument!r} of {seen.network} has one value in all {seen.calls} calls looked at, while "
            f"{seen.sequence!r} ends in repetitions of one value, of several lengths, in {seen.padded} of them: the "
            "padding is attended to.",
            location=seen.made or seen.where,
            numbers={"calls": seen.calls, "padded": seen.padded},
            remedy="Begin the mask with zeros and write ones where the tokens are.",
        )
