r"""Terms of the regression's loss: absolute error, structure, edges, spectrum, radiographs, and features of a network.

Every term is zero at the truth and differentiable there up to sign; none depends on how many volumes are in a batch.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional as F

from traindx.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from traindx.recipes.xray2ct.cascade.perceptual import PerceptualLoss
    from traindx.recipes.xray2ct.cascade.stage import RegressionStage

DATA_RANGE = 2.0  # network values run from -1 to 1
_SSIM_WINDOW = 7
_TINY = 1e-6
_SSIM_K1, _SSIM_K2 = 0.01, 0.03  # Wang et al. 2004, section III.B


@dataclass(frozen=True)
class LossWeights:
    """Weights of the terms; 0 leaves a term out.

    Attributes:
        absolute: Mean absolute error.
        structure: 1 - SSIM.
        gradient: Mean absolute error of finite differences.
        spectrum: Error of the Fourier coefficients, weighted by frequency; meant for the last stage.
        reprojection: Mean squared difference of the radiographs of the prediction from the given ones.
        perceptual: Distance in the features of a trained network; needs its weights.
        squared: Mean squared error. The absolute error is least at the median and PSNR is highest at the mean, which
            differ where a voxel may be inside or outside the body.
    """

    absolute: float = 1.0
    structure: float = 0.5
    gradient: float = 0.15
    spectrum: float = 0.0
    reprojection: float = 0.0
    perceptual: float = 0.0
    squared: float = 0.0


def regression_loss(
    stage: RegressionStage,
    prediction: Tensor,
    target: Tensor,
    radiographs: Mapping[str, Tensor],
    weights: LossWeights,
    perceptual: PerceptualLoss | None = None,
) -> dict[str, Tensor]:
    """All weighted terms of a stage.

    Args:
        stage: Knows the geometry.
        prediction: Network values, shape ``(B, 1, D, H, W)``.
        target: The same.
        radiographs: One image in network values a view.
        weights: Weights of the terms.
        perceptual: The perceptual term, where its weight is not zero.

    Raises:
        InputError: The perceptual term has a weight and no network.
    """
    prediction = prediction.float()
    terms = {}
    if weights.absolute:
        terms["absolute"] = weights.absolute * F.l1_loss(prediction, target)
    if weights.squared:
        terms["squared"] = weights.squared * F.mse_loss(prediction, target)
    if weights.structure:
        terms["structure"] = weights.structure * (1 - ssim(prediction, target))
    if weights.gradient:
        terms["gradient"] = weights.gradient * gradient_difference(prediction, target)
    if weights.spectrum:
        terms["spectrum"] = weights.spectrum * spectral_difference(prediction, target)
    if weights.reprojection:
        terms["reprojection"] = weights.reprojection * stage.agreement(prediction, radiographs)
    if weights.perceptual:
        if perceptual is None:
            raise InputError("the perceptual term has a weight and no network", expected="a file of weights for it")
        terms["perceptual"] = weights.perceptual * perceptual(prediction, target)
    return terms


def ssim(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean structural similarity with a uniform window of 7 voxels, by sums along one axis after the other.

    MONAI's ``SSIMLoss`` computes the same with one kernel of 343 taps, which takes longer than the network.

    Args:
        prediction: Network values, shape ``(B, 1, D, H, W)``.
        target: The same.

    Returns:
        A scalar, 1 where both agree.
    """
    window = min(_SSIM_WINDOW, *prediction.shape[2:])
    moments = torch.cat((prediction, target, prediction**2, target**2, prediction * target), dim=1)
    for size in ((window, 1, 1), (1, window, 1), (1, 1, window)):
        moments = F.avg_pool3d(moments, size, stride=1)
    x, y, xx, yy, xy = moments.unbind(dim=1)
    c1, c2 = (_SSIM_K1 * DATA_RANGE) ** 2, (_SSIM_K2 * DATA_RANGE) ** 2
    similar = (2 * x * y + c1) * (2 * (xy - x * y) + c2)
    return (similar / ((x**2 + y**2 + c1) * (xx - x**2 + yy - y**2 + c2))).mean()


def gradient_difference(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean absolute error of the differences between neighbours, over the three axes."""
    error = prediction - target
    parts = [error.diff(dim=axis).abs().mean() for axis in (2, 3, 4)]
    return torch.stack(parts).mean()


def spectral_difference(prediction: Tensor, target: Tensor) -> Tensor:
    """Mean modulus of the error's Fourier coefficients, each weighted by its frequency over the Nyquist frequency.

    The transform is orthonormal, so white noise has the same modulus everywhere and the weights say what counts; the
    mean error counts nothing. Compare Jiang et al. 2021, *Focal frequency loss*.
    """
    error = torch.fft.rfftn((prediction - target).float(), dim=(2, 3, 4), norm="ortho")
    d, h, w = prediction.shape[2:]
    axes = (torch.fft.fftfreq(d), torch.fft.fftfreq(h), torch.fft.rfftfreq(w))
    squared = sum(grid.square() for grid in torch.meshgrid(*axes, indexing="ij"))
    assert isinstance(squared, Tensor)
    weight = (squared.sqrt() / (0.5 * math.sqrt(3))).to(error.device)
    modulus = (error.real.square() + error.imag.square() + _TINY**2).sqrt() - _TINY  # differentiable at the truth
    weighted: Tensor = (weight * modulus).mean()
    return weighted
