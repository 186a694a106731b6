"""The field's figures of a fused pair, under one convention each, and under those of its most used evaluation code.

Everything is computed on the 8-bit grid that published figures are computed on: sources and fused image are rounded to
256 grey levels first, as they would be after saving.

Where conventions differ, both figures are given and named:

* **SSIM**: the mean over both sources of the index as published (Wang et al. 2004: Gaussian window of 11, dynamic range
  of the images). ``SSIM_sum`` is what papers of the field print since CDDFuse (Zhao et al. 2023, its
  ``utils/Evaluator.py``): the *sum* over both sources, with uniform windows of 7 x 7, on 0..255 with the constants of a
  dynamic range of 2, which older versions of scikit-image took for floating point. The constants then vanish, and noise
  of one grey level in air costs as much as a wrong edge.
* **MI**: in bits from the joint histogram of 256 levels (Qu et al. 2002). ``MI_nats`` is the same in natural units,
  which the same code prints: 0.69 of it.
* **VIF**: sum over both sources on 0..255, as the constant 2 of the visual noise demands (Sheikh & Bovik 2006, section
  IV). On [0, 1] the noise would swallow every edge and the figure would fall by tenths.
* **AG**: forward differences (Cui et al. 2015); with central ones it is about a fifth lower.
* **Qabf**: orientations are compared on (-pi/2, pi/2] without wrapping (Xydeas & Petrovic 2000), so two nearly vertical
  edges that lean to different sides count as perpendicular.
* **FMI**: see :mod:`traindx.recipes.fusion.feature_information`.

EN, SD, SF and AG see the fused image alone, and rise with noise.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

from torch import Tensor
from torch.nn import functional as F

from traindx.recipes.fusion import metrics
from traindx.recipes.fusion.feature_information import feature_mutual_information
from traindx.recipes.fusion.scores import ssim

FIELD = ("EN", "SD", "SF", "AG", "MI", "SCD", "VIF", "Qabf", "SSIM", "FMI_p", "FMI_g")
"""Figures under the convention of the paper that each is from."""

AS_PUBLISHED = ("MI_nats", "SSIM_sum")
"""Figures as the field's evaluation code computes them, to be read beside published tables."""

NAMES = (*FIELD, *AS_PUBLISHED)

SELECTION = ("Qabf", "VIF", "SSIM")
"""Edges, information and structure of both sources: what a fused image is asked for together."""


def figures(a: Tensor, b: Tensor, fused: Tensor) -> dict[str, float]:
    """All figures of one pair; slices of a volume are averaged.

    Args:
        a: Luminance of the first image on [0, 1], shape ``(D, 1, H, W)``.
        b: Second image.
        fused: Fused image.
    """
    rows = [_slice(*(_on_grey_levels(value[z : z + 1]) for value in (a, b, fused))) for z in range(len(fused))]
    return {name: sum(row[name] for row in rows) / len(rows) for name in NAMES}


def selection(row: Mapping[str, float]) -> float:
    """One number to choose a checkpoint by: the mean of Qabf, VIF and SSIM."""
    return sum(row[name] for name in SELECTION) / len(SELECTION)


def quick_figures(a: Tensor, b: Tensor, fused: Tensor) -> dict[str, float]:
    """The figures that a checkpoint is chosen by, of a batch of one, on the 8-bit grid."""
    a, b, fused = (_on_grey_levels(value) for value in (a, b, fused))
    return {
        "VIF": metrics.visual_information_fidelity(a, b, fused),
        "Qabf": metrics.edge_preservation(a, b, fused),
        "SSIM": ssim(a, b, fused),
    }


def _slice(a: Tensor, b: Tensor, fused: Tensor) -> dict[str, float]:
    information = metrics.mutual_information(a, b, fused)
    planes = (a[0, 0], b[0, 0], fused[0, 0])
    return {
        "EN": metrics.entropy(fused),
        "SD": metrics.standard_deviation(fused),
        "SF": metrics.spatial_frequency(fused),
        "AG": metrics.average_gradient(fused),
        "MI": information,
        "SCD": metrics.sum_of_correlations_of_differences(a, b, fused),
        **quick_figures(a, b, fused),
        "FMI_p": feature_mutual_information(*planes, feature="pixel"),
        "FMI_g": feature_mutual_information(*planes, feature="gradient"),
        "MI_nats": information * math.log(2),
        "SSIM_sum": ssim_as_published(fused, a) + ssim_as_published(fused, b),
    }


def ssim_as_published(image: Tensor, source: Tensor, *, data_range: float = 2.0) -> float:
    """SSIM on 0..255 with uniform windows of 7 x 7, unbiased variances, and (wrongly) the constants of range 2.

    Args:
        image: Fused image on [0, 1], shape ``(1, 1, H, W)``.
        source: Source image.
        data_range: 2 as the evaluation code has it; 255 would be right.
    """
    x, y = 255 * image.double(), 255 * source.double()

    def mean(value: Tensor) -> Tensor:
        return F.avg_pool2d(value, 7, stride=1)

    unbiased = 49 / 48
    mean_x, mean_y = mean(x), mean(y)
    var_x = unbiased * (mean(x * x) - mean_x.square())
    var_y = unbiased * (mean(y * y) - mean_y.square())
    covariance = unbiased * (mean(x * y) - mean_x * mean_y)
    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    top = (2 * mean_x * mean_y + c1) * (2 * covariance + c2)
    return float((top / ((mean_x.square() + mean_y.square() + c1) * (var_x + var_y + c2))).mean())


def _on_grey_levels(image: Tensor) -> Tensor:
    return (255 * image.clamp(0, 1)).round().float() / 255


def air(a: Tensor, b: Tensor) -> float:
    """Share of pixels that are black in both images, whose windows count as perfect in SSIM and FMI."""
    return float(((a <= 0) & (b <= 0)).float().mean())
