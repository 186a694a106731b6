"""E833 batches-weigh-alike."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from traindx.evidence.base import Evidence
from traindx.evidence.observed_figures import BatchMeansSeen
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "E833",
    "batches-weigh-alike",
    Severity.MINOR,
    needs=(BatchMeansSeen,),
    looked_at=requires(
        BatchMeansSeen,
        lambda one, limits: len(one.plain) >= limits.evaluations,
        otherwise="too few evaluations were seen whose last batch is smaller and whose mean is printed",
    ),
    thing="printed means over batches of which the last is smaller",
    evaluations=Threshold(2, "evaluations: one number may fit by chance"),
    gap=Threshold(0.2, "of the mean by cases; four of 260 cases that spread as much as their mean move it by a tenth"),
    unlike=Threshold(3.0, "standard deviations of batches of that size, in the median evaluation: beyond chance"),
)
def batches_weigh_alike(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A figure is the mean of the figures of batches, of which the last has fewer cases and counts as much.

    What it finds:
        ``total += loss.item()`` for every batch and ``total / len(loader)``, where the last batch holds four cases and
        the others 64, and the four are unlike the rest.
    Why it stops learning:
        It does not; but the figure is not that of the cases, and a schedule, a best checkpoint or a comparison that
        goes by it follows the few in the last batch.
    Evidence it needs:
        BatchMeansSeen (a watched script): numbers that are read of every batch in evaluation, sizes of the batches, and
        the numbers that are printed.
    How it decides:
        In at least `evaluations` evaluations, and in all that were looked at, the printed number is the plain mean of
        the batches to its last digit and not their mean by cases, and these are apart by more than `gap` of the latter.
        And in the median evaluation the last batch lies more than `unlike` standard deviations from the others, of
        batches of its size that are drawn as they are. Only where every batch but the last is as large as the loader
        makes it: where one batch is one patient, all may well count alike. `suspected`, since a mean over batches may
        be what is wanted.
    Remedy:
        Weigh every batch by its number of cases: ``total += loss.item() * len(x)``, divided by ``len(dataset)``.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A figure that is meant to be one of batches.
    References:
        None.
    """
    for one in evidence.of(BatchMeansSeen):
        times = len(one.plain)
        if times < limits.evaluations or one.as_plain < times or one.as_weighted:
            continue
        pairs = zip(one.plain, one.weighted, strict=True)
        far = all(abs(plain - weighted) > limits.gap * abs(weighted) for plain, weighted in pairs)
        if not far or median(one.unlike) <= limits.unlike:
            continue
        plain, weighted = one.plain[-1], one.weighted[-1]
        yield Found(
            message=f"The figure that is shown ({one.shown}) is the plain mean of {one.batches} batches, {plain:.4g}, "
            f"of which the last has {one.last} cases and the others {one.size}; by their cases it is {weighted:.4g}.",
            location=one.where,
            numbers={"plain": plain, "by_cases": weighted, "last": one.last, "size": one.size},
            remedy="Weigh every batch by its number of cases.",
        )
