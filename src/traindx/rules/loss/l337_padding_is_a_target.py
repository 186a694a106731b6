"""L337 padding-is-a-target."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_loss import PaddedTargetsSeen
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "L337",
    "padding-is-a-target",
    Severity.MAJOR,
    needs=(PaddedTargetsSeen,),
    looked_at=requires(
        PaddedTargetsSeen,
        lambda one, limits: one.rows >= limits.rows,
        otherwise="too few sequences were compared with their targets",
    ),
    thing="sequences with a target at every position",
    share=Threshold(0.15, "of the counted targets: below it the loss is about the content all the same"),
    most=Threshold(0.5, "of the counted targets: from here on the loss is about the padding"),
    rows=Threshold(16, "sequences; endings of fewer may agree by chance"),
    lengths=Threshold(3, "different lengths of the endings: padding is as long as a sequence is short"),
    classes=Threshold(4, "different targets before the endings: words or labels, no mask"),
)
def padding_is_a_target(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The loss counts the positions at which sequences are padded.

    What it finds:
        Labels that were padded with the number of a token, where the loss leaves out another number (-100 by default).
    Why it stops learning:
        The easiest word to learn is "nothing follows". It takes its share of the gradient, more of it the more lengths
        differ; and loss, accuracy and perplexity that count it look far better than the model is.
    Evidence it needs:
        PaddedTargetsSeen (a watched script): the endings of a cross-entropy's targets beside the sequences that the
        network was given.
    How it decides:
        In all batches that were compared the targets end in one number, which occurs nowhere else, in at least
        `lengths` different lengths and after at least `classes` different targets; the network is given one and the
        same thing at all those positions. Without the first position of each (a sequence may end in a token) they are
        at least `share` of all targets that count: `suspected`; from `most` on `demonstrated`.
    Remedy:
        Pad labels with the number that the loss ignores, or give it as `ignore_index`.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A model that is meant to write to a fixed length, and is never told where to stop.
    References:
        PyTorch, `torch.nn.CrossEntropyLoss`, argument `ignore_index`.
    """
    for one in evidence.of(PaddedTargetsSeen):
        share = one.padded / max(1, one.counted)
        few = one.rows < limits.rows or one.lengths < limits.lengths or one.classes < limits.classes
        if few or share < limits.share:
            continue
        yield Found(
            message=f"{100 * share:.0f} % of the targets that the loss counts are padding: sequences end in "
            f"{one.number}, which occurs nowhere else, while {one.argument} is padded there.",
            standing=Standing.DEMONSTRATED if share >= limits.most else Standing.SUSPECTED,
            location=one.where,
            numbers={"share": share, "number": one.number, "targets": one.counted},
            remedy=f"Pad the targets with the number that the loss leaves out, or give it ignore_index={one.number}.",
        )
