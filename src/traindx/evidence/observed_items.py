"""What was seen of the items that a loader hands out, by their content."""

from __future__ import annotations

from traindx.evidence.observed import Observed
from traindx.finding import Location


class ItemsSeen(Observed):
    """Items of one data loader, compared by some hundred values of each; ``where`` is the line that made the loader.

    Blank items, and those that are not finite, are left out. *Followed* items are known by the index that the sampler
    drew and came at least three times; what is said of their drift counts only those that were *alike*.

    Attributes:
        dataset: Class of the data set.
        item: Where its ``__getitem__`` is defined.
        trains: Batches of this loader were followed by backward passes.
        batches: Batches looked at that hold at least two items; where indices are known, two different ones.
        indexed: Of these, batches whose indices are known.
        one_item: Of these, batches in which all items have one and the same content.
        one_items: Different contents among those batches.
        drawn: Items looked at in all.
        contents: Different contents among them.
        indices: Different indices among them.
        followed: Items that came at least three times.
        alike: Of these, items that were the same every time up to scale and offset (correlation of at least 0.999).
        sightings: The most often that one of them came.
        growing: Items whose spread was larger every time.
        shrinking: Items whose spread was smaller every time.
        rising: Items whose mean was larger every time.
        falling: Items whose mean was smaller every time.
        factor: Median of last over first spread.
        shift: Median of the way of the mean from first to last, over the first spread.
    """

    dataset: str
    item: Location | None = None
    trains: bool = False
    batches: int = 0
    indexed: int = 0
    one_item: int = 0
    one_items: int = 0
    drawn: int = 0
    contents: int = 0
    indices: int = 0
    followed: int = 0
    alike: int = 0
    sightings: int = 0
    growing: int = 0
    shrinking: int = 0
    rising: int = 0
    falling: int = 0
    factor: float = 1.0
    shift: float = 0.0


class WorkerGenerator(Observed):
    """A generator that a data set draws from, of which every worker gets a copy; ``where`` is where items are made.

    Attributes:
        loader: The line that made the loader.
        dataset: Class of the data set.
        name: Attribute that holds the generator, as it is written in the data set.
        type: Class of the generator.
        workers: Worker processes of the loader.
        passes: Passes over the loader begun.
        persistent: Workers, and with them their copies, live on from one pass to the next.
        renewed: Something sees to it that copies differ: a ``worker_init_fn``, or code that makes, seeds or moves on
            the generator where an item is made, or asks there which worker it runs in.
        trains: Batches of this loader were followed by backward passes.
    """

    loader: Location | None = None
    dataset: str
    name: str
    type: str
    workers: int
    passes: int
    persistent: bool = False
    renewed: bool = False
    trains: bool = False
