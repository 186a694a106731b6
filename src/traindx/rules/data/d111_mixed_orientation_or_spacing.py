"""D111: files of one set that lie differently in space."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.dataset import GeometrySpread, Spread
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, Threshold, rule
from traindx.rules.data._words import of, place, shares, some


@rule(
    "D111",
    "mixed-orientation-or-spacing",
    Severity.MINOR,
    needs=(GeometrySpread,),
    spacing_ratio=Threshold(
        1.5, "common scale augmentation covers 0.7 to 1.4 (nnU-Net); beyond it scale must be handled"
    ),
    oblique_degrees=Threshold(
        5.0, "tilts below 5 degrees are within usual rotation augmentation and patient positioning"
    ),
)
def mixed_orientation_or_spacing(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What it finds:
        Sets whose members differ in the orientation of their axes, in voxel size, or that are oblique.

    Why it stops learning:
        A loader that takes the array and ignores the affine sees some patients upside down or mirrored, and the same
        organ at several scales. The model must learn all of them from the same number of cases, or averages them.

    Evidence it needs:
        ``GeometrySpread``: headers with spacing and orientation; DICOM by series.

    How it decides:
        Suspected, because a loader that resamples by the affine is right: more than one orientation code in a set;
        in-plane pixel size or slice distance that differs between members by more than a factor ``spacing_ratio``; axes
        tilted by more than ``oblique_degrees`` (a note).

    Remedy:
        Reorient to one code (MONAI ``Orientationd``) and resample to one spacing (``Spacingd``), image and mask alike.

    Trial it proposes:
        None from the files alone.

    Known false positives:
        Pipelines that reorient and resample on loading; deliberately mixed body parts.

    References:
        Isensee et al., nnU-Net, Nature Methods 18 (2021), on spacing as part of the data fingerprint.
    """
    for record in evidence.of(GeometrySpread):
        if len(record.orientations) > 1:
            yield Found(
                message=f"The {record.members} members of “{record.name}” have different axes "
                f"({shares(record.orientations)}): "
                f"{some(record.orientation_examples)}.",
                severity=Severity.MAJOR,
                location=place(evidence, record.orientation_examples),
                offenders=record.orientation_examples,
                numbers={f"members {share.value}": share.count for share in record.orientations[:6]},
                remedy="Reorient all to one code, image and mask together, before anything looks at the arrays.",
            )
        spread = [
            f"{name} {values.low:.3g} to {values.high:.3g} mm"
            for name, values in (("in-plane", record.in_plane_mm), ("slice distance", record.slice_mm))
            if values is not None and _wide(values, limits.spacing_ratio)
        ]
        if spread:
            yield Found(
                message=f"Voxel sizes differ within “{record.name}” ({record.members} members): {', '.join(spread)}; "
                f"for example "
                f"{some(record.examples, 2)}.",
                location=place(evidence, record.examples),
                offenders=record.examples,
                numbers={"in-plane ratio": record.in_plane_mm.ratio, "members": record.members}
                | ({"slice distance ratio": record.slice_mm.ratio} if record.slice_mm is not None else {}),
                remedy="Resample to one spacing, or show by an ablation that the scales do not matter.",
            )
        if record.oblique and record.oblique_degrees > limits.oblique_degrees:
            yield Found(
                message=f"{of(record.oblique, record.members, 'member')} of “{record.name}” are oblique, tilted by up "
                f"to "
                f"{record.oblique_degrees:.1f} degrees: arrays and patient axes differ.",
                severity=Severity.NOTE,
                numbers={"oblique": record.oblique, "largest tilt in degrees": record.oblique_degrees},
                remedy="Resample by the affine before mixing them with axial volumes or with other modalities.",
            )


def _wide(values: Spread, ratio: float) -> bool:
    return values.low > 0 and values.ratio > ratio
