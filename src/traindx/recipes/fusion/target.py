r"""What a fused image should be, stated as an objective with a known optimum.

Regions partition the image: *bone* (by Hounsfield units, or by file), *soft tissue* inside the field of view of MR,
*the rest of the body* which only CT has seen, and air. On the display range the objective is

.. math:: E(F) = \sum_{bone} (F - CT)^2 + \sum_{soft} (F - MR)^2 + \sum_{CT only} (F - CT)^2 + \sum_{air} F^2

with soft transitions (partial volume from 150 to 300 HU; two pixels at the border of MR). Its only minimum is

.. math:: F^* = w_b CT + (1 - w_b) (w_m MR + (1 - w_m) CT)  \text{ in the body, 0 in air.}

In soft tissue F* *is* MR and in bone it *is* CT, so both region terms :math:`1 - SSIM(F, MR | soft)` and
:math:`1 - SSIM(F, CT | bone)` are zero at F*, whatever their weights: diffusion target and ROI loss have one optimum.
The lesion term compares what a frozen head sees in F with what it sees in F*, and is zero there too.
The network is given CT and MR only; no mask is needed when an image is fused.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import ndimage

Array = NDArray[np.float32]
Mask = NDArray[np.bool_]

PARTIAL_VOLUME_HU = (150.0, 300.0)
"""Where a voxel passes from soft tissue to bone: above contrast-enhanced vessels and muscle, below trabecular bone."""

BODY_HU = -300.0
"""Between air and fat."""

_THIN = 2  # voxels; tables and sheets of the scanner are thinner than twice this, limbs are not
_LEAST_PART = 0.05  # of the largest part of a slice: smaller ones are tables, blankets and noise
_MR_SEES = 0.03  # of the display range; the field of view of MR ends where nothing is brighter than noise


@dataclass(frozen=True)
class Regions:
    """Where is what, each of shape ``(D, H, W)``.

    Attributes:
        body: Body in CT.
        soft: Soft tissue that MR has seen, where F* is MR.
        bone: Bone, where F* is CT.
        bone_weight: w_b, in [0, 1].
        mr_weight: w_m, in [0, 1].
    """

    body: Mask
    soft: Mask
    bone: Mask
    bone_weight: Array
    mr_weight: Array


def regions(hu: Array, mr: Array, bone: Mask | None = None, body: Mask | None = None) -> Regions:
    """Segment by intensity, slice by slice, or take masks from files.

    Args:
        hu: CT, shape ``(D, H, W)``.
        mr: MR on the display range.
        bone: Bone from a file; HU decide where it is missing.
        body: Body (or brain) from a file; HU decide where it is missing.
    """
    if body is None:
        body = np.stack([_body(plane) for plane in hu])
    low, high = PARTIAL_VOLUME_HU
    ramp = np.clip((hu - low) / (high - low), 0, 1)
    weight = (ramp * ramp * (3 - 2 * ramp) * body).astype(np.float32)
    if bone is not None:
        weight = weight * ndimage.binary_dilation(bone)  # a voxel more, for the partial volume around the mask
    seen = np.stack([_seen(plane) for plane in mr])
    mr_weight = ndimage.uniform_filter(seen.astype(np.float32), size=(1, 3, 3))
    soft = body & seen & (mr_weight >= 1 - 1e-6) & (weight == 0)
    return Regions(body, soft, body & (weight == 1), weight.astype(np.float32), mr_weight)


def fused_target(ct: Array, mr: Array, where: Regions) -> Array:
    """F*, the optimum of the objective.

    Args:
        ct: CT on the display range, shape ``(D, H, W)``.
        mr: MR on the display range.
        where: Regions of the same volume.
    """
    tissue = where.mr_weight * mr + (1 - where.mr_weight) * ct
    fused = where.bone_weight * ct + (1 - where.bone_weight) * tissue
    return (fused * (where.body | (where.mr_weight > 0))).astype(np.float32)


def _body(hu: Array) -> Mask:
    """The body in a slice: no table, no holes."""
    inside = hu > BODY_HU
    core = ndimage.binary_opening(inside, iterations=_THIN)
    labels, count = ndimage.label(core if core.any() else inside)
    if not count:
        return np.zeros(hu.shape, dtype=bool)
    sizes = np.bincount(labels.ravel())[1:]
    kept = np.isin(labels, 1 + np.flatnonzero(sizes >= _LEAST_PART * sizes.max()))
    grown = ndimage.binary_propagation(kept, mask=ndimage.binary_dilation(kept, iterations=_THIN) & inside)
    filled: Mask = ndimage.binary_fill_holes(grown)
    return filled


def _seen(mr: Array) -> Mask:
    """What MR has seen in a slice; cortical bone, which has no signal, is enclosed by what has."""
    bright = ndimage.binary_opening(mr > _MR_SEES)
    closed = ndimage.binary_closing(np.pad(bright, 4), iterations=3)[4:-4, 4:-4]
    filled: Mask = ndimage.binary_fill_holes(closed)
    return filled
