"""D116 augmentation-repeats."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_items import WorkerGenerator
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "D116",
    "augmentation-repeats",
    Severity.MINOR,
    needs=(WorkerGenerator,),
    looked_at=requires(
        WorkerGenerator,
        lambda record, limits: record.trains and (record.workers >= limits.copies or record.passes >= limits.passes),
        otherwise="no loader with several workers was read more than once",
    ),
    thing="data sets that draw from a generator of their own in worker processes",
    copies=Threshold(2, "workers: with two there are two copies of one generator in one and the same state"),
    passes=Threshold(2, "passes: workers that are started anew begin again with the state of the parent's generator"),
)
def augmentation_repeats(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Workers draw one and the same random numbers, and those of the last pass again.

    What it finds:
        A data set that keeps a generator (`numpy`, `random`, `torch.Generator`) and draws from it when an item is made,
        read by a loader with worker processes. Every worker gets a copy in the same state, and workers that are started
        anew for each pass begin with that state each time.
    Why it stops learning:
        The augmentation that is meant to show ever new variants shows few: all workers cut, turn and shift alike, and
        every epoch repeats the one before. The network overfits as if there were less augmentation.
    Evidence it needs:
        WorkerGenerator, and WorkersBegun where workers could be begun once more (a watched script).
    How it decides:
        The generator is an attribute of the data set, or of a transform in it, that the code which makes an item names.
        `suspected` where at least `copies` workers share it, or where at least `passes` passes were begun with workers
        that do not persist. Nothing is said where that code seeds, makes or moves the generator on, or asks which
        worker it runs in; where the loader has a `worker_init_fn`, that is tried in child processes, and so are
        generators that are variables of a module. The generators that `random`, `numpy.random` and
        torch themselves use are seeded apart in every worker by torch, and are left alone.
    Remedy:
        Make the generator in the worker, from the seed that torch gave it.
    Trial it proposes:
        None.
    Known false positives:
        A generator that is drawn from for something that is meant to be the same in every worker.
    References:
        PyTorch documentation, torch.utils.data, *Randomness in multi-process data loading*.
    """
    for record in evidence.of(WorkerGenerator):
        shared = record.workers >= limits.copies
        again = record.passes >= limits.passes and not record.persistent
        if record.renewed or not record.trains or not (shared or again):
            continue
        what = [f"all {record.workers} workers draw the same numbers from it"] if shared else []
        what += ["every pass repeats those of the one before"] if again else []
        yield Found(
            message=f"{record.dataset} draws from a {record.type} that it keeps in {record.name}, and each worker of "
            f"its loader has a copy in the same state: {', and '.join(what)}.",
            location=record.where,
            numbers={"workers": record.workers, "passes": record.passes, "persistent": record.persistent},
            remedy="Make the generator in the worker, from the seed that torch gave it: "
            f"`{record.name} = None` at first, and where an item is made `if {record.name} is None: {record.name} = "
            "np.random.default_rng(torch.initial_seed())`.",
        )
