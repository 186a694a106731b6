"""How much of the fine noise in x_t can be found again in the output of a network.

White noise above the Nyquist frequency of a coarse grid is added to x_t; the change of the output is all that the
network passes on of it. The share of the noise that the best local linear reader recovers from that change is near one
for a network with a full-resolution path, whatever its weights, and at most (coarse numbers / fine numbers) behind a
bottleneck.
"""

from __future__ import annotations

from itertools import product
from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

BLOCK_UNKNOWNS = 64  # more unknowns than this cannot be fitted from the blocks of one small volume


def high_pass_noise(shape: torch.Size, ratio: int, generator: torch.Generator) -> Tensor:
    """White noise without the frequencies that a grid ``ratio`` times coarser can hold.

    Args:
        shape: ``(B, C, *spatial)``.
        ratio: Coarse voxels are this many fine ones wide; 2 or more.
        generator: Source of the noise, on the CPU.

    Returns:
        Noise of unit variance, float32, on the CPU.
    """
    axes = tuple(range(2, len(shape)))
    noise = torch.randn(shape, generator=generator)
    spectrum = torch.fft.fftn(noise, dim=axes)
    low = torch.ones(shape[2:], dtype=torch.bool)
    for axis, size in enumerate(shape[2:]):
        frequency = torch.fft.fftfreq(size).abs()
        view = [1] * len(axes)
        view[axis] = size
        low &= (frequency < 0.5 / ratio).view(view)
    spectrum[..., low] = 0
    fine: Tensor = torch.fft.ifftn(spectrum, dim=axes).real
    return fine / fine.std()


def recovered_share(response: Tensor, noise: Tensor, ratio: int) -> float:
    """Share of the noise's variance that a linear reader of the neighbourhood recovers from the response, in [0, 1].

    The better of two readers: one that is the same at every voxel (3 voxels wide), which suits convolutions, and one
    that knows the position in the coarse cell, which suits patches and transposed convolutions. Both are corrected for
    the number of unknowns.

    Args:
        response: Change of the output, ``(1, C, *spatial)``; at most 4 channels are read.
        noise: The added noise, ``(1, 1, *spatial)`` (its first channel is sought).
        ratio: Width of a coarse cell in voxels.
    """
    response = response[:1, :4].double().cpu()
    noise = noise[:1, :1].double().cpu()
    if response.shape[2:] != noise.shape[2:] or float(response.std()) == 0.0:
        return 0.0
    response = response / response.std()
    same_everywhere = _explained(_neighbourhood(response, 3), noise.flatten()[:, None])
    cells = _cells(response, ratio)
    by_position = _explained(cells, _cells(noise, ratio)) if cells.shape[1] <= BLOCK_UNKNOWNS else 0.0
    return max(0.0, same_everywhere, by_position)


def _neighbourhood(field: Tensor, width: int) -> Tensor:
    """All shifts of a field within a cube, as columns."""
    dims = field.ndim - 2
    axes = tuple(range(2, 2 + dims))
    shifts = product(range(-(width // 2), width // 2 + 1), repeat=dims)
    return torch.cat([torch.roll(field, shift, axes)[0].flatten(1) for shift in shifts]).T


def _cells(field: Tensor, ratio: int) -> Tensor:
    """One row a coarse cell, one column a voxel in it (and a channel)."""
    dims = field.ndim - 2
    spatial = [size // ratio * ratio for size in field.shape[2:]]
    field = field[(slice(None), slice(None), *(slice(0, size) for size in spatial))]
    split = [part for size in spatial for part in (size // ratio, ratio)]
    cells = field[0].reshape(field.shape[1], *split)
    order = [*range(1, 2 * dims, 2), 0, *range(2, 2 * dims + 1, 2)]
    return cells.permute(order).reshape(int(torch.tensor(spatial).prod()) // ratio**dims, -1)


def _explained(features: Tensor, wanted: Tensor) -> float:
    """Adjusted share of variance of ``wanted`` that a linear map of ``features`` explains."""
    rows, unknowns = features.shape
    if rows < 2 * unknowns:
        return 0.0
    features = features - features.mean(0)
    wanted = wanted - wanted.mean(0)
    gram = features.T @ features
    ridge = 1e-9 * float(gram.diagonal().mean()) * torch.eye(unknowns, dtype=gram.dtype)
    solution = torch.linalg.solve(gram + ridge, features.T @ wanted)
    left = float((wanted - features @ solution).square().sum() / wanted.square().sum())
    return 1.0 - left * (rows - 1) / max(1, rows - unknowns - 1)


def outside_patches(target: Tensor, ratio: int, components: int) -> Tensor:
    """What is left of a target after the best ``components`` numbers a coarse cell (principal components of its cells).

    The components are fitted to the targets themselves, so the true limit is not lower than this.

    Args:
        target: ``(B, 1, *spatial)``.
        ratio: Width of a cell in voxels.
        components: Numbers a cell.

    Returns:
        The residual, one row a cell.
    """
    cells = torch.cat([_cells(row[None, :1].double(), ratio) for row in target])
    centred = cells - cells.mean(0)
    if components >= min(centred.shape):
        return torch.zeros_like(cells)
    _, _, axes = torch.linalg.svd(centred, full_matrices=False)
    kept = axes[:components]
    residual: Tensor = centred - centred @ kept.T @ kept
    return residual
