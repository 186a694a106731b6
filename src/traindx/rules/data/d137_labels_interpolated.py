"""D137 labels-interpolated."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_items import LabelsResampled
from traindx.evidence.observed_loss import LossCall
from traindx.evidence.probed import OverlapProbed
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "D137",
    "labels-interpolated",
    Severity.CRITICAL,
    needs=(LabelsResampled,),
    looked_at=requires(
        LabelsResampled,
        lambda record, limits: record.voxels > 0,
        otherwise="no label map was resampled",
    ),
    thing="label maps that are resampled by interpolation",
    invented=Threshold(1e-3, "share of the voxels; a rim one voxel wide round a small organ is ten times that"),
)
def labels_interpolated(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A label map is resized or turned by interpolation, which makes labels of the numbers between.

    What it finds:
        ``zoom(labels, factor)``, ``resize`` or ``rotate`` with linear or cubic interpolation: half way between
        background (0) and kidney (2) lies 1, which is the tumour.
    Why it stops learning:
        Every border carries a rim of a class that is not there. What the network learns of that class is mostly rims.
    Evidence it needs:
        LabelsResampled (a watched script; not in workers of a loader), LossCall or OverlapProbed.
    How it decides:
        A map of three or more small whole numbers was resampled by something else than the nearest neighbour. Voxels
        with a label that the nearest neighbour has nowhere within two voxels are invented. More than a share of
        `invented`, in a script whose loss has at least as many classes as the largest label needs: `demonstrated`.
    Remedy:
        Resample labels with the nearest neighbour (``order=0``), or each class by itself and take the largest.
    Trial it proposes:
        The patch that `traindx fix` shows, where the line allows one.
    Known false positives:
        An image of a few grey values whose numbers are all smaller than the number of classes.
    References:
        Isensee et al., nnU-Net, Nature Methods 2021, supplementary note on resampling: one-hot for segmentations.
    """
    classes = max(
        [call.classes for call in evidence.of(LossCall)] + [one.classes for one in evidence.of(OverlapProbed)],
        default=0,
    )
    for record in evidence.of(LabelsResampled):
        share = record.invented / max(record.voxels, 1)
        if share <= limits.invented or record.values[-1] >= classes:
            continue
        labels = ", ".join(f"{value:g}" for value in record.values[:6])
        what = "values between them" if record.between > record.invented / 2 else "labels that are nowhere near"
        yield Found(
            message=f"{record.function} interpolates between the numbers of a label map ({labels}): "
            f"{100 * share:.1f} % of the voxels get {what}.",
            standing=Standing.DEMONSTRATED,
            location=record.where,
            numbers={"voxels": record.voxels, "invented": record.invented, "between": record.between},
            remedy="Use the nearest neighbour for labels: order=0.",
        )
