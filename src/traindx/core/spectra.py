"""Energy of images by spatial frequency, averaged over directions."""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch

if TYPE_CHECKING:
    from torch import Tensor

MOST_BANDS = 16


def bands_of(spatial: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Band of every Fourier coefficient and the middle of each band as a share of the Nyquist frequency.

    Frequencies are those of the voxel grid, each axis in units of its own Nyquist frequency; everything beyond 1
    (towards the corners) belongs to the last band.

    Args:
        spatial: Spatial shape.

    Returns:
        Band numbers of shape ``spatial``, and the middles.
    """
    count = max(2, min(MOST_BANDS, min(spatial) // 2))
    squared = torch.zeros(())
    for axis, size in enumerate(spatial):
        shape = [1] * len(spatial)
        shape[axis] = size
        squared = squared + (2 * torch.fft.fftfreq(size)).square().view(shape)
    number = (squared.sqrt() * count).long().clamp(max=count - 1)
    return number, (torch.arange(count) + 0.5) / count


def energy(images: Tensor) -> Tensor:
    """Squared Fourier coefficients of images whose mean is removed, under a Hann window against the borders.

    Args:
        images: ``(B, C, *spatial)``.

    Returns:
        ``(B, C, *spatial)``, normalised so that white noise of unit variance has energy one in every coefficient.
    """
    axes = tuple(range(2, images.ndim))
    values = images.double() - images.double().mean(axes, keepdim=True)
    power = 1.0
    for axis in axes:
        shape = [1] * images.ndim
        shape[axis] = images.shape[axis]
        window = torch.hann_window(images.shape[axis], periodic=False, dtype=torch.float64)
        values = values * window.view(shape)
        power *= float(window.square().sum())
    spectrum: Tensor = torch.fft.fftn(values, dim=axes).abs().square() / power
    return spectrum


def by_band(spectrum: Tensor, number: Tensor, count: int) -> Tensor:
    """Mean energy a coefficient in each band, over images and channels; shape ``(count,)``."""
    flat = spectrum.mean((0, 1)).flatten()
    index = number.flatten()
    sums = torch.zeros(count, dtype=flat.dtype).index_add_(0, index, flat)
    return sums / torch.bincount(index, minlength=count).clamp_min(1)
