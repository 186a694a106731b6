"""Figures of merit in Hounsfield units: the data range is 2000 HU, whatever window a network works in."""

from __future__ import annotations

import torch
from torch import Tensor

from traindx.recipes.xray2ct.hounsfield import EVALUATED_HU

DATA_RANGE_HU = EVALUATED_HU[1] - EVALUATED_HU[0]


def evaluated(hu: Tensor) -> Tensor:
    """Clip to the window of evaluation."""
    return hu.clamp(*EVALUATED_HU)


def psnr_hu(prediction: Tensor, target: Tensor) -> Tensor:
    """Volumetric PSNR in dB: one figure for each volume, then their mean.

    Args:
        prediction: HU, shape ``(B, 1, D, H, W)``.
        target: The same.

    Returns:
        A scalar, at most 100 dB.

    >>> import torch
    >>> float(psnr_hu(torch.full((1, 1, 2, 2, 2), 200.0), torch.zeros(1, 1, 2, 2, 2)))
    20.0
    """
    error = (evaluated(prediction) - evaluated(target)).double().square().flatten(1).mean(dim=1)
    return (20 * torch.log10(DATA_RANGE_HU / error.clamp_min(1e-10 * DATA_RANGE_HU**2).sqrt())).mean()


def ssim_hu(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean structural similarity in three dimensions (torchmetrics; Gaussian of 1.5 voxels), a scalar.

    Args:
        prediction: HU, shape ``(B, 1, D, H, W)``.
        target: The same.
    """
    from torchmetrics.functional.image import structural_similarity_index_measure

    value = structural_similarity_index_measure(
        evaluated(prediction), evaluated(target), data_range=DATA_RANGE_HU, sigma=1.5
    )
    assert isinstance(value, torch.Tensor)
    return value
