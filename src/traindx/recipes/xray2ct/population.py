"""The training population that the package carries: one real chest CT under random anatomical deformation.

It is *one* patient (LIDC-IDRI-0001, see ``assets/ATTRIBUTION.md``), made into many by a random affine map, a smooth
free-form deformation, and jitter of scale and density. It exercises every part of a training in minutes without a
download; it is not a sample of patients, and figures on it say nothing about patients.
"""

from __future__ import annotations

import gzip
from dataclasses import dataclass
from functools import cache, lru_cache
from importlib.resources import files
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from traindx.errors import InputError

ASSET = "lidc_idri_0001_3mm.nii.gz"
AIR_HU = -1000.0


@dataclass(frozen=True)
class Variation:
    """How far the copies differ from the patient; half-widths of uniform distributions unless said otherwise.

    Attributes:
        scale: Relative change of size along each axis and of all axes together.
        rotation_degrees: About each axis.
        shift_mm: Along each axis.
        bend_mm: Standard deviation of the free-form displacement at its control points.
        control_points: Control points of the free-form displacement along each axis.
        density: Relative change of attenuation, the same for all tissues of a copy (contrast agent, calibration).
    """

    scale: float = 0.1
    rotation_degrees: float = 5.0
    shift_mm: float = 12.0
    bend_mm: float = 6.0
    control_points: int = 5
    density: float = 0.03


@dataclass(frozen=True)
class CT:
    """A CT with the recipe's axes: inferior, posterior and left are the directions of growing index.

    Attributes:
        hu: Hounsfield units, shape ``(D, H, W)``, float32.
        spacing_mm: Voxel size along D, H, W.
        affine: Indices (D, H, W) to NIfTI world coordinates in mm, shape ``(4, 4)``.
    """

    hu: Tensor
    spacing_mm: tuple[float, float, float]
    affine: NDArray[np.float64]


def read_ct(path: Path) -> CT:
    """Read a CT in NIfTI and turn it into the recipe's axes.

    Raises:
        InputError: The file cannot be read, is not three-dimensional, or does not hold Hounsfield units.
    """
    import nibabel
    from nibabel.orientations import axcodes2ornt, io_orientation, ornt_transform

    try:
        image = nibabel.load(path)
        wanted = ornt_transform(io_orientation(image.affine), axcodes2ornt(("I", "P", "L")))
        image = image.as_reoriented(wanted)
        hu: NDArray[np.float32] = np.asarray(image.dataobj, dtype=np.float32)
    except (OSError, EOFError, ValueError, gzip.BadGzipFile, nibabel.filebasedimages.ImageFileError) as error:
        raise InputError(
            f"{path} cannot be read as NIfTI: {error}", expected="a CT volume in .nii or .nii.gz", do="convert it again"
        ) from error
    if hu.ndim != 3:
        raise InputError(f"{path} has shape {hu.shape}", expected="one volume of three dimensions")
    if not np.isfinite(hu).all() or hu.min() > -500 or hu.max() < 100:
        raise InputError(
            f"{path} holds values from {hu.min():g} to {hu.max():g}",
            expected="Hounsfield units, from about -1000 in air to 300 and more in bone",
            do="apply the rescale slope and intercept when converting",
        )
    d, h, w = (float(value) for value in image.header.get_zooms()[:3])
    return CT(torch.from_numpy(np.ascontiguousarray(hu)), (d, h, w), np.asarray(image.affine, dtype=np.float64))


@cache
def packaged_ct() -> CT:
    """The CT inside the package; see :func:`read_ct`."""
    return read_ct(Path(str(files("traindx") / "assets" / ASSET)))


def low_passed(hu: Tensor, factors: tuple[float, float, float]) -> Tensor:
    """Blur a volume before it is sampled at every ``factor``-th voxel, so that nothing folds over.

    Args:
        hu: Shape ``(D, H, W)``.
        factors: New voxel size over old, per axis; the Gaussian has variance ``(f^2 - 1) / (8 ln 2)`` in old voxels
            (Cardoso et al., Scale factor point spread function matching, MICCAI 2015).
    """
    out = hu[None, None]
    for axis, factor in enumerate(factors):
        variance = max(factor**2 - 1, 0) / (8 * float(np.log(2)))
        if variance == 0:
            continue
        radius = int(np.ceil(3 * variance**0.5))
        taps = torch.exp(-(torch.arange(-radius, radius + 1.0) ** 2) / (2 * variance))
        shape, padding = [1, 1, 1], [0, 0, 0]
        shape[axis], padding[axis] = len(taps), radius
        around = [0, 0, 0, 0, 0, 0]
        around[4 - 2 * axis] = around[5 - 2 * axis] = radius
        out = F.conv3d(F.pad(out, around, mode="replicate"), (taps / taps.sum()).view(1, 1, *shape))
    return out[0, 0]


def resized(hu: Tensor, size: int) -> Tensor:
    """Low-pass and resample a volume of shape ``(D, H, W)`` to ``(size, size, size)`` over the same field of view."""
    d, h, w = (count / size for count in hu.shape)
    smooth = low_passed(hu, (d, h, w))
    return F.interpolate(smooth[None, None], size=(size, size, size), mode="trilinear", align_corners=False)[0, 0]


def deformed_copies(
    count: int, size: int, seed: int, variation: Variation | None = None, first: int = 0
) -> tuple[Tensor, tuple[float, float, float]]:
    """Draw copies of the packaged patient.

    Args:
        count: How many.
        size: Voxels along each axis; the field of view of the packaged CT is kept.
        seed: Seed of everything random; copy k of a seed does not depend on ``count``.
        variation: How far the copies differ.
        first: Number of the first copy.

    Returns:
        HU of shape ``(count, 1, size, size, size)`` and the voxel size in mm along D, H, W.
    """
    vary = variation or Variation()
    ct = packaged_ct()
    extent = torch.tensor([n * s for n, s in zip(ct.hu.shape, ct.spacing_mm, strict=True)])
    smooth = _smoothed_for(size)
    copies = []
    for index in range(first, first + count):
        draw = torch.Generator().manual_seed(seed * 1_000_003 + index)
        grid = _sampling_grid(size, extent, vary, draw)
        air = F.grid_sample(smooth - AIR_HU, grid, padding_mode="zeros", align_corners=False) + AIR_HU
        more = F.grid_sample(smooth, grid, padding_mode="border", align_corners=False)
        # The scan ends inside the body above and below, so there the last slice continues; beside the body is air.
        beside = (grid[..., :2].abs() > 1).any(dim=-1)[:, None]
        copy = torch.where(beside, air, more)
        density = 1 + vary.density * _uniform(1, draw)
        copies.append((copy - AIR_HU) * density + AIR_HU)
    d, h, w = (extent / size).tolist()
    return torch.cat(copies), (d, h, w)


@lru_cache(maxsize=2)
def _smoothed_for(size: int) -> Tensor:
    """The packaged CT, low-passed for sampling at ``size`` voxels a side, shape ``(1, 1, D, H, W)``."""
    hu = packaged_ct().hu
    d, h, w = hu.shape
    return low_passed(hu, (d / size, h / size, w / size))[None, None]


def _uniform(count: int, draw: torch.Generator) -> Tensor:
    return 2 * torch.rand(count, generator=draw) - 1


def _sampling_grid(size: int, extent: Tensor, vary: Variation, draw: torch.Generator) -> Tensor:
    """Where each voxel of a copy comes from, ``(1, D, H, W, 3)`` in ``grid_sample`` coordinates (W, H, D)."""
    half = extent.flip(0) / 2  # (x, y, z) in mm
    scale = (1 + vary.scale * _uniform(3, draw)) * (1 + vary.scale * _uniform(1, draw))
    angles = torch.deg2rad(vary.rotation_degrees * _uniform(3, draw))
    shift = vary.shift_mm * _uniform(3, draw)
    points = vary.control_points
    bend = vary.bend_mm * torch.randn(1, 3, points, points, points, generator=draw)
    axis = (torch.arange(size) + 0.5) * 2 / size - 1
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    mm = torch.stack((x, y, z), dim=-1) * half
    turned = (mm / scale) @ _rotation(angles).T + shift
    smooth_bend = F.interpolate(bend, size=(size, size, size), mode="trilinear", align_corners=True)
    smooth_bend = F.avg_pool3d(F.pad(smooth_bend, (1,) * 6, mode="replicate"), 3, stride=1)  # no creases at the points
    turned = turned + smooth_bend[0].permute(1, 2, 3, 0)
    grid: Tensor = (turned / half)[None]
    return grid


def _rotation(angles: Tensor) -> Tensor:
    """Rotation by angles about x, then y, then z, shape ``(3, 3)``."""
    (cx, cy, cz), (sx, sy, sz) = torch.cos(angles).tolist(), torch.sin(angles).tolist()
    about_x = torch.tensor([[1, 0, 0], [0, cx, -sx], [0, sx, cx]])
    about_y = torch.tensor([[cy, 0, sy], [0, 1, 0], [-sy, 0, cy]])
    about_z = torch.tensor([[cz, -sz, 0], [sz, cz, 0], [0, 0, 1]])
    return about_z @ about_y @ about_x
