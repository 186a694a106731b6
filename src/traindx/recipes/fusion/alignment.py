r"""Taking back a rigid motion of MR against CT within a slice: places are matched, and one motion is fitted to them.

What two modalities share is where their edges are. The correlation of edge strengths under every shift of up to
:data:`REACH` pixels (as the correlation of features in Dosovitskiy et al. 2015, *FlowNet*, eq. 1, but of a feature that
need not be learned), and that of learned features on a coarser grid, are what a small network sees. From them a shift
and a weight follow in every place, and from all of them the one rotation and translation that minimise

.. math:: \sum_q w(q)\, |R (q - \bar q) + \bar q + t - (q + u(q))|^2

in closed form (Arun et al. 1987). So what moves is rigid by construction: nothing of the anatomy can be bent to fit.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

PATCH = 4
"""Pixels of a cell, the grid on which shifts are found."""

REACH = 8
"""Pixels to each side in which MR is looked for; 16 mm at 2 mm a pixel."""

_EDGE_STRIDE = 2
_TINY = 1e-6


class Aligner(nn.Module):
    """Move MR to where CT says it belongs, slice by slice.

    Args:
        channels: Channels of the learned features.
    """

    def __init__(self, channels: int = 16) -> None:
        super().__init__()
        self.describe = nn.ModuleList(_features(channels) for _ in range(2))
        shifts = sum((2 * REACH // stride + 1) ** 2 for stride in (PATCH, _EDGE_STRIDE))
        self.match = nn.Sequential(
            nn.Conv2d(shifts + 2 * channels, 64, 1),
            nn.SiLU(),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(64, 64, 3, padding=1),
            nn.SiLU(),
            nn.Conv2d(64, 3, 1),
        )

    def forward(self, ct: Tensor, mr: Tensor) -> tuple[Tensor, Tensor, Tensor]:
        """Both as the network sees them, ``(B, 1, H, W)`` with sides divisible by 4.

        Returns:
            MR where it belongs, ``(B, 1, H, W)``; the fitted motion and the shifts that it was fitted to, in rows and
            columns, each ``(B, 2, H, W)``.
        """
        first, second = (
            F.normalize(describe(F.pixel_unshuffle(image, PATCH)), dim=1)
            for describe, image in zip(self.describe, (ct, mr), strict=True)
        )
        learned = correlation(first, second, REACH // PATCH)
        found = self.match(torch.cat((edge_correlation(ct, mr), learned, first, second), dim=1))
        found = F.interpolate(found, scale_factor=float(PATCH), mode="bilinear", align_corners=False)
        shifts = found[:, :2]
        motion = rigid(shifts, F.softplus(found[:, 2:]))
        return moved(mr, motion), motion, shifts


def _features(channels: int) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(PATCH**2, channels, 3, padding=1),
        nn.SiLU(),
        nn.Conv2d(channels, channels, 3, padding=1),
    )


def correlation(first: Tensor, second: Tensor, steps: int) -> Tensor:
    """Products of features under every shift of the second, ``(B, C, H, W)`` to ``(B, (2 steps + 1)^2, H, W)``."""
    height, width = first.shape[-2:]
    padded = F.pad(second, (steps,) * 4)
    reach = range(2 * steps + 1)
    found = [
        (first * padded[..., row : row + height, column : column + width]).sum(dim=1)
        for row in reach
        for column in reach
    ]
    return torch.stack(found, dim=1)


def edge_correlation(ct: Tensor, mr: Tensor) -> Tensor:
    """Correlation of edge strengths around each cell under every shift, less its mean, over its deviation."""
    edges = [F.avg_pool2d(edge_strength(image), _EDGE_STRIDE) for image in (ct, mr)]
    first, second = (image - F.avg_pool2d(image, 9, 1, 4) for image in edges)
    found = correlation(first, second, REACH // _EDGE_STRIDE)
    found = F.avg_pool2d(found, 7, 1, 3)  # over 14 pixels around
    found = F.avg_pool2d(found, PATCH // _EDGE_STRIDE)
    found = found - found.mean(dim=1, keepdim=True)
    return found / (found.square().mean(dim=1, keepdim=True) + _TINY).sqrt()


def edge_strength(image: Tensor) -> Tensor:
    """Square root of the gradient's magnitude, so that the edge of the body does not outweigh all others."""
    padded = F.pad(image, (1, 1, 1, 1), mode="replicate")
    rows = padded[..., 2:, 1:-1] - padded[..., :-2, 1:-1]
    columns = padded[..., 1:-1, 2:] - padded[..., 1:-1, :-2]
    return (rows.square() + columns.square() + _TINY).sqrt().sqrt()


def rigid(shifts: Tensor, weight: Tensor) -> Tensor:
    """The rotation and translation that are nearest to shifts, as shifts.

    Args:
        shifts: Rows and columns, ``(B, 2, H, W)``.
        weight: How much each counts, ``(B, 1, H, W)``, above 0.
    """
    height, width = shifts.shape[-2:]
    rows = torch.arange(height, dtype=shifts.dtype, device=shifts.device).view(1, 1, height, 1).expand_as(weight)
    columns = torch.arange(width, dtype=shifts.dtype, device=shifts.device).view(1, 1, 1, width).expand_as(weight)
    place = torch.cat((rows, columns), dim=1)
    share = weight / weight.sum(dim=(2, 3), keepdim=True).clamp_min(_TINY)
    centre = (share * place).sum(dim=(2, 3), keepdim=True)
    mean = (share * shifts).sum(dim=(2, 3), keepdim=True)
    arm = place - centre
    target = arm + shifts - mean
    along = (share * (arm * target).sum(dim=1, keepdim=True)).sum(dim=(2, 3), keepdim=True)
    turned = arm[:, :1] * target[:, 1:] - arm[:, 1:] * target[:, :1]
    across = (share * turned).sum(dim=(2, 3), keepdim=True)
    size = (along.square() + across.square() + _TINY).sqrt()
    cosine, sine = along / size, across / size
    rotated = torch.cat((cosine * arm[:, :1] - sine * arm[:, 1:], sine * arm[:, :1] + cosine * arm[:, 1:]), dim=1)
    return rotated - arm + mean


def moved(image: Tensor, shifts: Tensor) -> Tensor:
    """An image looked up at shifted places, bilinearly; beyond its border its outermost pixels go on.

    Args:
        image: ``(B, 1, H, W)``.
        shifts: Rows and columns from each pixel to where its value is found, ``(B, 2, H, W)``.
    """
    height, width = image.shape[-2:]
    rows = torch.arange(height, dtype=image.dtype, device=image.device).view(1, height, 1) + shifts[:, 0]
    columns = torch.arange(width, dtype=image.dtype, device=image.device).view(1, 1, width) + shifts[:, 1]
    grid = torch.stack(((2 * columns + 1) / width - 1, (2 * rows + 1) / height - 1), dim=-1)
    return F.grid_sample(image, grid, padding_mode="border", align_corners=False)
