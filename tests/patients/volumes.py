"""Synthetic anatomy: bodies of a few ellipsoids with fine texture, and their two projections."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def bodies(count: int, size: int, seed: int = 0) -> Tensor:
    """Volumes ``(count, 1, size, size, size)`` in [-1, 1]; air is exactly -1."""
    generator = torch.Generator().manual_seed(seed)
    axis = torch.linspace(-1, 1, size)
    z, y, x = torch.meshgrid(axis, axis, axis, indexing="ij")
    volumes = torch.full((count, 1, size, size, size), -1.0)
    for volume in volumes[:, 0]:
        for value, radius in ((0.0, 0.8), (-0.8, 0.35), (0.7, 0.2), (0.3, 0.25)):
            shift = (torch.rand(3, generator=generator) - 0.5) * (0.3 if radius > 0.5 else 0.9)
            scale = radius * (0.8 + 0.4 * torch.rand(3, generator=generator))
            inside = (
                ((z - shift[0]) / scale[0]) ** 2 + ((y - shift[1]) / scale[1]) ** 2 + ((x - shift[2]) / scale[2]) ** 2
            )
            texture = 0.1 * torch.randn(size, size, size, generator=generator)
            volume[inside < 1] = (value + texture)[inside < 1]
    return volumes.clamp(-1, 1)


def projections(volumes: Tensor) -> tuple[Tensor, Tensor]:
    """Frontal and lateral mean projections ``(B, 1, size, size)``, roughly unit variance."""
    frontal, lateral = volumes.mean(3), volumes.mean(4)
    return (frontal + 0.7) * 2, (lateral + 0.7) * 2


def images(count: int, size: int, seed: int = 0) -> Tensor:
    """Middle slices of :func:`bodies`, shape ``(count, 1, size, size)``."""
    return bodies(count, size, seed)[:, :, size // 2]


def blurred(volume: Tensor, factor: int) -> Tensor:
    """A volume at ``1/factor`` of its resolution, up-sampled again."""
    small = F.avg_pool3d(volume, factor) if volume.ndim == 5 else F.avg_pool2d(volume, factor)
    return F.interpolate(small, size=volume.shape[2:], mode="trilinear" if volume.ndim == 5 else "bilinear")
