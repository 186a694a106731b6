"""D134 one-item-fills-the-batch."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_items import ItemsSeen
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "D134",
    "one-item-fills-the-batch",
    Severity.CRITICAL,
    needs=(ItemsSeen,),
    looked_at=requires(
        ItemsSeen,
        lambda items, limits: items.batches >= limits.batches,
        otherwise="too few batches with several items came out of a data loader",
    ),
    batches=Threshold(3, "batches that all repeat one item; that distinct items agree by chance does not happen twice"),
    asked=Threshold(32, "different indices: a data set so short may be repeated on purpose"),
    repeats=Threshold(8, "different indices for each content; data sets with copies, and oversampling, stay below 4"),
)
def one_item_fills_the_batch(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The sampler asks for different items, and one and the same comes.

    What it finds:
        Batches whose samples are all one item: `__getitem__` fills a buffer of the data set and returns it,
        so that every sample of a batch is the one that was read last. And a data set that gives a handful of items
        whatever index it is asked for.
    Why it stops learning:
        A batch of sixteen is a batch of one: gradients are sixteen times as noisy as planned, most items are never seen
        with their own label, and batch statistics are those of one image.
    Evidence it needs:
        ItemsSeen (a watched script that reads from a `DataLoader`).
    How it decides:
        Some hundred values of every sample are compared. `demonstrated` if in at least `batches` batches, and in all
        that were looked at, different indices gave one content, which differs from batch to batch. `suspected` if
        indices are not known, or if at least `asked` different indices gave `repeats` times fewer contents. Blank
        images are left out; so is a batch for which one item was asked for several times.
    Remedy:
        Return a copy of the buffer, and use the index that is given.
    Trial it proposes:
        None; the data set is mended.
    Known false positives:
        Without known indices: a collate function that makes a batch of one item on purpose. With few contents: a data
        set that claims to be longer than it is, to make passes longer.
    References:
        PyTorch documentation of `torch.utils.data.default_collate`: samples are stacked after all of them were fetched.
    """
    for items in evidence.of(ItemsSeen):
        numbers = {
            "batches": items.batches,
            "of_one_item": items.one_item,
            "drawn": items.drawn,
            "contents": items.contents,
            "indices": items.indices,
        }
        if items.batches < limits.batches:
            continue
        if items.one_item == items.batches and items.one_items >= 2:
            yield Found(
                message=f"In all {items.batches} batches of {items.dataset} that were looked at, every sample is the "
                f"same item{', and different ones were asked for' if items.indexed == items.batches else ''}: a "
                "buffer that is filled again for every item is handed out without a copy.",
                standing=Standing.DEMONSTRATED if items.indexed == items.batches else Standing.SUSPECTED,
                location=items.item or items.where,
                numbers=numbers,
                remedy="Return a copy: `return self.buffer.clone(), label` (`.copy()` for numpy).",
                variant="shared-buffer",
            )
        elif items.indices >= max(limits.asked, limits.repeats * items.contents):
            yield Found(
                message=f"{items.dataset} was asked for {items.indices} different items and gave {items.contents} "
                f"different {'one' if items.contents == 1 else 'ones'}.",
                location=items.item or items.where,
                numbers=numbers,
                remedy="Use the index that `__getitem__` is given.",
                variant="index-ignored",
            )
