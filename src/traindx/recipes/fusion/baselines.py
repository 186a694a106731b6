"""Fusion without learning: what every figure of a trained fusion is shown beside.

All functions take CT and MR scaled to ``[0, 1]``, shape ``(B, 1, H, W)``, and return a fused image of that shape.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import torch
import torch.nn.functional as F
from torch import Tensor

Fusion = Callable[[Tensor, Tensor], Tensor]

LEVELS = 4
"""Levels of the Laplacian pyramid: the coarsest band of a 128 x 128 slice is then 16 x 16, an organ or so a pixel."""


def average(ct: Tensor, mr: Tensor) -> Tensor:
    """The mean of both."""
    return (ct + mr) / 2


def maximum(ct: Tensor, mr: Tensor) -> Tensor:
    """The brighter one, pixel by pixel."""
    return torch.maximum(ct, mr)


def weighted(ct: Tensor, mr: Tensor, weight: float = 0.3) -> Tensor:
    """Mostly MR, with a share of CT."""
    return weight * ct + (1 - weight) * mr


def copy_of_ct(ct: Tensor, mr: Tensor) -> Tensor:
    """CT alone."""
    return ct.clone()


def copy_of_mr(ct: Tensor, mr: Tensor) -> Tensor:
    """MR alone."""
    return mr.clone()


def laplacian_pyramid(ct: Tensor, mr: Tensor, levels: int = LEVELS) -> Tensor:
    """Band by band the stronger detail, and the mean of the coarsest band (Burt and Kolczynski 1993, Toet 1989).

    Args:
        ct: CT.
        mr: MR.
        levels: Bands.

    Returns:
        The fused image, clipped to [0, 1].
    """
    fused = None
    for band_ct, band_mr in reversed(list(zip(_bands(ct, levels), _bands(mr, levels), strict=True))):
        if fused is None:
            fused = (band_ct + band_mr) / 2
        else:
            chosen = torch.where(band_ct.abs() >= band_mr.abs(), band_ct, band_mr)
            fused = _larger(fused, chosen.shape[-2:]) + chosen
    assert fused is not None
    return fused.clamp(0, 1)


def _bands(image: Tensor, levels: int) -> list[Tensor]:
    """Laplacian bands from fine to coarse, the coarsest low-pass last; they add up to the image."""
    bands = []
    for _ in range(levels - 1):
        smaller = F.avg_pool2d(image, 2, ceil_mode=True)
        bands.append(image - _larger(smaller, image.shape[-2:]))
        image = smaller
    return [*bands, image]


def _larger(image: Tensor, size: tuple[int, ...] | torch.Size) -> Tensor:
    return F.interpolate(image, size=list(size), mode="bilinear", align_corners=False)


BASELINES: Mapping[str, Fusion] = {
    "average": average,
    "maximum": maximum,
    "weighted": weighted,
    "copy of CT": copy_of_ct,
    "copy of MR": copy_of_mr,
    "Laplacian pyramid": laplacian_pyramid,
}
