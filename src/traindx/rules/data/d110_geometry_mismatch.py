"""D110: a mask that does not lie on its image."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.dataset import Example, PairGeometry
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule
from traindx.rules.data._words import of, place, some


@rule(
    "D110",
    "geometry-mismatch",
    Severity.CRITICAL,
    needs=(PairGeometry,),
    displaced_voxels=Threshold(0.5, "half a voxel: beyond it, most boundary voxels of the mask belong to a neighbour"),
)
def geometry_mismatch(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What it finds:
        Image and mask of one case with different array shapes, voxel sizes, orientations or positions in space.

    Why it stops learning:
        Loaders stack arrays. If the mask is mirrored, shifted or on another grid, the target does not lie where the
        organ is: the loss falls until the model predicts a blurred average position, and stays there.

    Evidence it needs:
        ``PairGeometry``: pairs of image and mask; for position and orientation, affines.

    How it decides:
        Demonstrated: image and mask of a case must lie on one grid. Shapes must be equal (axes of length 1 aside),
        voxel sizes equal within 0.1 %, orientation codes equal, and no corner further away than ``displaced_voxels``.
        Suspected for corners that lie apart by less.

    Remedy:
        Resample the mask to its image with nearest neighbour by its affine; where only the header is wrong (most often
        a mask saved without the image's affine), copy the header.

    Trial it proposes:
        None; the files must be fixed.

    Known false positives:
        Masks drawn on a crop whose loader knows the offset.

    References:
        NIfTI-1 header definition (sform, qform); Isensee et al., nnU-Net, dataset integrity verification.
    """
    for record in evidence.of(PairGeometry):
        groups: tuple[tuple[str, int, tuple[Example, ...]], ...] = (
            ("shape", record.shape_differs, record.shape_examples),
            ("orientation", record.orientation_differs, record.orientation_examples),
            ("voxel size", record.spacing_differs, record.spacing_examples),
        )
        for what, count, examples in groups:
            if count:
                yield Found(
                    message=f"{of(count, record.pairs, 'pair')} of image and mask differ in {what}: {some(examples)}.",
                    standing=Standing.DEMONSTRATED,
                    location=place(evidence, examples),
                    offenders=examples,
                    numbers={f"pairs of different {what}": count, "pairs": record.pairs},
                    pictures=("masks on images",),
                    remedy="Resample each mask to its image (nearest neighbour), or correct the header of the one "
                    "saved wrongly.",
                )
        far = [example for example in record.displaced_examples if example.value > limits.displaced_voxels]
        if far:
            yield Found(
                message=f"{of(record.displaced, record.pairs, 'mask')} lie beside their image: {some(far)}.",
                standing=Standing.DEMONSTRATED,
                location=place(evidence, far),
                offenders=far,
                numbers={"displaced": record.displaced, "largest in voxels": far[0].value},
                pictures=("masks on images",),
                remedy="Copy the image's affine into the mask if the voxels agree; resample the mask if they do not.",
            )
        elif record.displaced:
            yield Found(
                message=f"{of(record.displaced, record.pairs, 'mask')} lie a fraction of a voxel beside their image: "
                f"{some(record.displaced_examples)}.",
                severity=Severity.MINOR,
                location=place(evidence, record.displaced_examples),
                offenders=record.displaced_examples,
                numbers={"displaced": record.displaced, "largest in voxels": record.displaced_examples[0].value},
                remedy="Check how the masks were written: cell centres against cell corners is half a voxel.",
            )
