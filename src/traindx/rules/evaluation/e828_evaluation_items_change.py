"""E828 evaluation-items-change."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_items import ItemsSeen
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "E828",
    "evaluation-items-change",
    Severity.MAJOR,
    needs=(ItemsSeen,),
    looked_at=requires(
        ItemsSeen,
        lambda items, limits: (
            not items.trains
            and items.followed >= limits.least
            and (items.by_index is not None or items.transformed < limits.share * items.followed)
        ),
        otherwise="no evaluation was seen that read the same items three times and whose items could be made again",
    ),
    thing="evaluations that read from a loader",
    least=Threshold(6, "items that came three times: fewer may be odd ones"),
    share=Threshold(
        0.4, "of them that came in another form; a flip every other time leaves a quarter of them as it is"
    ),
)
def evaluation_items_change(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The items of an evaluation are changed by chance, in another way each time that they are read.

    What it finds:
        A validation set that is built with the transforms of the training set, or that shares its data set object with
        it (`random_split` of one data set that augments).
    Why it stops learning:
        It does not; but the figure is one of harder images, it jumps from epoch to epoch by the draw, and the best
        checkpoint is the one that was lucky.
    Evidence it needs:
        ItemsSeen (a watched script that reads from a `DataLoader` and evaluates three times).
    How it decides:
        Items of a loader that does not train are followed by the index that the sampler drew. At least `least` of them
        came three times, `share` of them in another form (correlation below 0.9 with the first time). Two of them are
        made in forked children from one and the same random state, and differ: the index chooses what is changed by
        chance, where a set that makes everything up gives one thing twice. `suspected`, since the draw may be meant.
    Remedy:
        A data set of its own for validation, without random transforms, on the indices of the split.
    Trial it proposes:
        None; fix it.
    Known false positives:
        Validation on random crops of large images on purpose; test-time augmentation.
    References:
        None.
    """
    for items in evidence.of(ItemsSeen):
        few = items.followed < limits.least or items.transformed < limits.share * items.followed
        if items.trains or few or not items.by_index:
            continue
        yield Found(
            message="The items of this evaluation are changed by chance, anew each time they are read: "
            f"{items.transformed} of {items.followed} followed items of {items.dataset} came in another form "
            "(correlation below 0.9 with the first time), and which item it is still depends on the index.",
            standing=Standing.SUSPECTED,
            location=items.where or items.item,
            numbers={"transformed": items.transformed, "followed": items.followed},
            remedy="Build the validation set without the random transforms of training.",
        )
