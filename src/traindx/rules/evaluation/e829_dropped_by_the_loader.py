"""E829 by what a loader drops: the last items of an evaluation."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed import NetworkCalls
from traindx.evidence.observed_state import LoaderSeen
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "E829",
    "batches-left-out",
    Severity.MINOR,
    needs=(LoaderSeen, NetworkCalls),
    looked_at=requires(
        LoaderSeen,
        lambda one, limits: not one.trains and one.samples > 0 and one.batch_size > 0,
        otherwise="no loader beside the training's has a length and a size of batches",
    ),
    thing="evaluations that read from a loader with a length",
    dropped=Threshold(0.01, "of the items; fewer change no figure that is printed with two digits"),
)
def dropped_by_the_loader(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The loader of an evaluation is made with ``drop_last=True``, and its last items are never judged.

    By count: the network is called in a validation with batches of a loader that the training does not read, and the
    number of its samples is no multiple of the size of a batch. `suspected`, since somebody may want whole batches.
    """
    judged = {call.loader for call in evidence.of(NetworkCalls) if call.phase == "validation" and call.other_data}
    for one in evidence.of(LoaderSeen):
        if one.trains or not one.drops_last or one.where not in judged or one.where is None:
            continue
        left = one.samples % one.batch_size if one.samples > 0 and one.batch_size > 0 else 0
        if not left or left <= limits.dropped * one.samples:
            continue
        others = ", others in every pass" if one.shuffled else ""
        yield Found(
            variant="dropped-by-the-loader",
            message=f"The loader of this evaluation drops its last, smaller batch: {left} of {one.samples} items are "
            f"not judged{others}.",
            location=one.where,
            numbers={"left_out": left, "samples": one.samples, "batch_size": one.batch_size},
            remedy="Leave drop_last out for evaluation, and weigh batches by their number of items.",
        )
