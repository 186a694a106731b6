"""D102: the intensity window takes a tissue away that the task needs."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.normalisation import TissueWindow
from traindx.finding import Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "D102",
    "window-starves-tissue",
    Severity.MAJOR,
    needs=(TissueWindow,),
    looked_at=requires(
        TissueWindow,
        lambda tissue, limits: tissue.volume_share >= limits.present,
        otherwise="none of the declared tissues is in the batches",
    ),
    constant=Threshold(0.5, "half of a tissue's voxels made one constant; clinical windows keep above 0.9 of theirs"),
    present=Threshold(0.002, "a tissue in fewer voxels than this is not what the target is about"),
    narrow=Threshold(0.02, "fat, the narrowest tissue, has 0.03 of the full CT range and is learned from there"),
)
def window_starves_tissue(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What it finds:
        A window that turns most of a tissue which the case declares as needed into one constant, or that leaves a
        tissue only a sliver of the normalised range.

    Why it stops learning:
        What the window has clipped is not in the target any more. No model can predict it, and an input that still
        shows it (a radiograph, another modality) contradicts the target. A tissue in a sliver of the range
        contributes little to the loss.

    Evidence it needs:
        ``Case.normaliser`` with ``tissues``, and real targets (raw ones where batches carry them).

    How it decides:
        Demonstrated where more than ``constant`` of a tissue's real voxels are clipped to one value and the tissue
        makes up at least ``present`` of the volume. Suspected where its raw range covers less than ``narrow`` of
        the encoded range.

    Remedy:
        Widen the window to all tissues the task needs; where contrast of one tissue matters more, weight the loss or
        add a channel with a narrow window instead of narrowing the only one.

    Trial it proposes:
        ``window``, where the case offers it, scored in raw units so that the scoring metric does not move.

    Known false positives:
        A task that is about one tissue only: declare only that tissue in ``Normaliser.tissues``.

    References:
        DICOM PS3.3 C.11.2 (windowing); typical Hounsfield ranges in Hofer, *CT Teaching Manual* (2021).
    """
    records = evidence.of(TissueWindow)
    lost = [item for item in records if item.constant_share > limits.constant and item.volume_share >= limits.present]
    needed = {"low": min((item.low for item in records), default=0), "high": max((r.high for r in records), default=0)}
    if lost:
        worst = max(lost, key=lambda item: item.volume_share * item.constant_share)
        names = ", ".join(f"{100 * item.constant_share:.0f} % of {item.tissue}" for item in lost)
        yield Found(
            message=f"The window [{worst.clip_low:.0f}, {worst.clip_high:.0f}] {worst.unit} makes {names} "
            "one constant, so the target no longer contains it.",
            standing=Standing.DEMONSTRATED,
            location=worst.where,
            numbers={
                **{f"constant share of {item.tissue}": item.constant_share for item in lost},
                "clip_low": worst.clip_low,
                "clip_high": worst.clip_high,
            },
            remedy="Use a window that holds every tissue the task needs, here "
            f"{needed['low']:.0f} to {needed['high']:.0f} {worst.unit}.",
            proposals=(Proposal(treatment="window", parameters=needed),),
        )
    for item in records:
        if item not in lost and item.share_of_range < limits.narrow and item.volume_share >= limits.present:
            yield Found(
                message=f"{item.tissue.capitalize()} ({item.low:.0f} to {item.high:.0f} {item.unit}) has only "
                f"{100 * item.share_of_range:.1f} % of the normalised range.",
                standing=Standing.SUSPECTED,
                severity=Severity.MINOR,
                location=item.where,
                numbers={"share_of_range": item.share_of_range},
                remedy="Clip values that the task does not need, then scale.",
                proposals=(Proposal(treatment="window", parameters=needed),),
            )
