"""P604: the rendered target fits its radiograph only when it is flipped, turned or taken from another side."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.projection import ViewAgreement, ViewDifference
from traindx.finding import Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule
from traindx.rules.physics._shared import turned_in_part


@rule(
    "P604",
    "axis-or-flip-wrong",
    Severity.MAJOR,
    needs=(ViewAgreement,),
    better=Threshold(0.5, "the right arrangement leaves less than this share of the unexplained correlation 1 - r"),
    fits=Threshold(0.98, "the right volume along the right axis correlates above this with its own rendering"),
    least=Threshold(0.002, "interpolation alone moves the correlation of two renderings by less"),
    gap=Threshold(0.05, "of two arrangements that both fit badly, one is better by chance by less than this"),
    views_differ=Threshold(0.01, "below this the views are one and the same, which P603 explains"),
)
def axis_or_flip_wrong(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What it finds:
        The renderer projects the true volume along the wrong axis, or mirrored or turned, compared with the radiograph
        that its image is held against.

    Why it stops learning:
        The physics loss is lowest for a volume that is mirrored or turned, which the image loss calls wrong: the two
        terms contradict each other.

    Evidence it needs:
        ``Case.projection.observed`` and real targets.

    How it decides:
        Absolute Pearson correlation r of the rendered target with the radiograph, as it is and under flips, quarter
        turns and the other views. Demonstrated where another arrangement fits above ``fits`` and its 1 - r is less than
        ``better`` times that of the arrangement in use. Where nothing fits, it is suspected if the gap exceeds ``gap``.
        A renderer that ignores the view is left to P603, and radiographs of which only some are turned to D117.

    Remedy:
        Check the order of array axes: nibabel gives (x, y, z), most networks expect (depth, height, width); apply the
        affine before indexing axes.

    Trial it proposes:
        ``projection``, where the case offers a reference renderer.

    Known false positives:
        Radiographs from another exposure than the volume, with the patient moved or arms up, may fit badly; then
        nothing fits above ``fits`` and the standing stays suspected.

    References:
        nibabel manual, "Coordinate systems and affines"; DICOM PS3.3 C.7.6.2 (patient orientation).
    """
    if any(record.relative < limits.views_differ for record in evidence.of(ViewDifference)):
        return
    for record in evidence.of(ViewAgreement):
        if turned_in_part(evidence, record.view):
            continue
        gap = record.best_correlation - record.correlation
        certain = record.best_correlation > limits.fits
        explained = 1 - record.best_correlation < limits.better * (1 - record.correlation)
        if record.best == "as it is" or not (explained and gap > limits.least if certain else gap > limits.gap):
            continue
        yield Found(
            message=f"The rendered {record.view} target correlates {record.correlation:.3f} with its radiograph as it "
            f"is, and {record.best_correlation:.3f} when it is {record.best}.",
            standing=Standing.DEMONSTRATED if certain else Standing.SUSPECTED,
            location=record.where,
            numbers={
                "correlation": record.correlation,
                "best_correlation": record.best_correlation,
                "best": record.best,
            },
            remedy=f"Render the {record.view} view so that it needs no correction ({record.best} fits now).",
            proposals=(Proposal(treatment="projection"),),
        )
