"""L321 overlap-loss-is-accuracy."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.probed import OverlapProbed
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "L321",
    "overlap-loss-is-accuracy",
    Severity.MAJOR,
    needs=(OverlapProbed,),
    looked_at=requires(
        OverlapProbed,
        lambda record, limits: min(record.shares) <= limits.rare,
        otherwise="no class is rare in the batches that were looked at",
    ),
    thing="overlap losses of three or more classes",
    overlap_looks=Threshold(2, "batches that agree"),
    zero=Threshold(0.05, "of the loss: a perfect output costs this at most"),
    one=Threshold(0.8, "an output that is wrong everywhere costs this at least"),
    rare=Threshold(0.1, "share of the voxels: with larger classes overlap and accuracy are much alike"),
    as_share=Threshold(1.5, "cost of leaving out a class over its share of the voxels; a mean over classes costs 1/C"),
)
def overlap_loss_is_accuracy(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """An overlap loss sums up all classes before it divides: it is the share of wrong voxels.

    What it finds:
        A Dice or Jaccard loss that flattens the class channels together with the voxels. For classes that exclude each
        other both sums are the number of voxels, whatever the output; what is left is accuracy.
    Why it stops learning:
        A lesion of one per cent of the voxels is worth one per cent of the loss; leaving it out is nearly optimal.
    Evidence it needs:
        OverlapProbed (a watched script): the script's own loss for outputs without one of the classes.
    How it decides:
        The loss has no term that compares voxel by voxel, is about 0 for a perfect output and about 1 for one that is
        wrong everywhere, and leaving out a class costs no more than `as_share` times its share of the voxels, for every
        class, in at least `overlap_looks` batches, the rarest class being below `rare`: `demonstrated`.
    Remedy:
        Sum over the voxels of each class, divide, then take the mean over the classes.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A loss that is meant to be accuracy.
    References:
        Milletari et al., V-Net, 3DV 2016, section 3, for the loss of one class; Sudre et al., Generalised Dice overlap,
        DLMIA 2017, for several.
    """
    by_line: dict[object, list[OverlapProbed]] = {}
    for record in evidence.of(OverlapProbed):
        by_line.setdefault(record.where, []).append(record)
    for records in by_line.values():
        usable = [one for one in records if min(one.shares) <= limits.rare]
        if len(usable) < limits.overlap_looks or not all(_is_accuracy(one, limits) for one in usable):
            continue
        one = usable[-1]
        share, cost = min(zip(one.shares, one.costs, strict=True))
        yield Found(
            message=f"This overlap loss is the share of wrong voxels: leaving out a class of {100 * share:.1f} % of "
            f"them costs {cost:.3f} of 1, where a mean over {one.classes} classes charges {1 / one.classes:.2f} or so. "
            "It sums up the classes together before it divides.",
            standing=Standing.DEMONSTRATED,
            location=one.where,
            numbers={"share": share, "cost": cost, "classes": one.classes, "perfect": one.perfect, "wrong": one.wrong},
            remedy="Keep the class axis until after the division, then take the mean over the classes.",
        )


def _is_accuracy(record: OverlapProbed, limits: Limits) -> bool:
    ends = abs(record.perfect) <= limits.zero and limits.one <= record.wrong <= 1.2
    pairs = zip(record.shares, record.costs, strict=True)
    return ends and all(share / limits.as_share <= cost <= limits.as_share * share for share, cost in pairs)
