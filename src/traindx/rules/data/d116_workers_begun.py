"""D116 where worker processes were begun once more: what their generators are set to, and who draws from them."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_items import WorkerGenerator, WorkersBegun
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "D116",
    "augmentation-repeats",
    Severity.MINOR,
    needs=(WorkersBegun,),
    looked_at=requires(
        WorkersBegun,
        lambda seen, limits: (
            seen.trains and (seen.workers >= limits.prepared_workers or seen.passes >= limits.prepared_passes)
        ),
        otherwise="no loader whose workers the script prepares was read more than once",
    ),
    thing="loaders whose workers the script prepares, or whose items are drawn from a generator of a module",
    prepared_workers=Threshold(2, "workers: with two there are two copies of one generator"),
    prepared_passes=Threshold(2, "passes: workers that are started anew are prepared anew"),
)
def workers_begin_alike(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What prepares the workers gives them one and the same random numbers, or those of the last pass again.

    A `worker_init_fn` with a fixed seed, or with a seed and the number of the worker, which comes again at every pass;
    and generators that are variables of a module, of which every worker has a copy. Workers are begun once more in
    child processes, as torch begins them, and make some items. `suspected` where two of them (or the first one, at two
    passes) begin with a generator in one state, leave it in one state, and that state depends on the first: what is
    seeded for every item, and generators that are not drawn from, say nothing.
    """
    told = {(one.loader, one.name) for one in evidence.of(WorkerGenerator) if not one.renewed}
    for seen in evidence.of(WorkersBegun):
        if not seen.trains:
            continue
        known = {name for loader, name in told if loader == seen.loader and not seen.prepares}
        alike = [name for name in seen.alike if name not in known] if seen.workers >= limits.prepared_workers else []
        again = [name for name in seen.again if name not in known] if seen.passes >= limits.prepared_passes else []
        if not alike and not again:
            continue
        names = " and ".join(dict.fromkeys((*alike, *again)))
        what = [f"all {seen.workers} workers draw the same numbers"] if alike else []
        what += ["every pass draws those of the one before"] if again else []
        how = f"{seen.prepares} leaves {names}" if seen.prepares else f"Each worker has a copy of {names}"
        yield Found(
            variant="prepared" if seen.prepares else "module",
            message=f"{how} in one and the same state, and items of {seen.dataset} are drawn with it: "
            f"{', and '.join(what)}.",
            location=seen.where or seen.loader,
            numbers={"workers": seen.workers, "passes": seen.passes},
            remedy="Seed it in each worker from `torch.initial_seed()`, which torch makes another one for every worker "
            "and every pass: `numpy.random.default_rng(torch.initial_seed())`.",
        )
