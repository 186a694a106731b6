"""The ladder of resolutions: one field of view and one detector, volumes of growing size."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise

from torch import Tensor
from torch.nn import functional as F

from traindx.errors import InputError
from traindx.recipes.xray2ct.geometry import ConeGeometry


def ladder(sizes: tuple[int, ...]) -> tuple[int, ...]:
    """Check the sizes of the stages: each is twice the one before, so every voxel has eight children.

    Raises:
        InputError: They are not.
    """
    if not sizes or sizes[0] < 4 or any(b != 2 * a for a, b in pairwise(sizes)):
        raise InputError(
            f"the stages have {', '.join(map(str, sizes)) or 'no'} voxels a side",
            expected="at least 4 in the first, and twice as many in each later stage, for example 16, 32, 64",
        )
    return sizes


def at_size(geometry: ConeGeometry, size: int, pixels: int | None = None) -> ConeGeometry:
    """The same rays and field of view over a volume of ``size`` voxels a side.

    Args:
        geometry: The geometry of the radiographs.
        size: Voxels along each axis.
        pixels: Rows and columns of the detector; those of ``geometry`` where it is None.
    """
    d, h, w = (extent / size for extent in geometry.extent_mm)
    detector = geometry.pixels if pixels is None else (pixels, pixels)
    return replace(geometry, shape=(size, size, size), spacing_mm=(d, h, w), pixels=detector)


def coarsened(volume: Tensor, size: int) -> Tensor:
    """Mean over the voxels that become one: ``(B, C, D, H, W)`` to ``(B, C, size, size, size)``."""
    return volume if volume.shape[-1] == size else F.avg_pool3d(volume, volume.shape[-1] // size)


def refined(volume: Tensor, size: int) -> Tensor:
    """Trilinear interpolation to ``size`` voxels a side over the same field of view."""
    if volume.shape[-1] == size:
        return volume
    return F.interpolate(volume, size=(size, size, size), mode="trilinear", align_corners=False)
