"""Classical fusion of two images of any modality, each after its paper.

All functions take two images scaled to ``[0, 1]``, shape ``(B, 1, H, W)``, and return a fused image of that shape. The
simplest ones (average, maximum, Laplacian pyramid) stand in :mod:`traindx.recipes.fusion.baselines`.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional as F

DWT_LEVELS = 4
"""As many as the Laplacian pyramid has bands, so that the two differ in their transform alone."""


def wavelet(a: Tensor, b: Tensor, levels: int = DWT_LEVELS) -> Tensor:
    """Haar wavelets: the stronger detail coefficient, and the mean of the approximations.

    Li, Manjunath & Mitra 1995 (*Multisensor image fusion using the wavelet transform*, section 3), without their
    vote of the neighbours on each choice.

    Args:
        a: First image.
        b: Second image.
        levels: Levels of the transform.
    """
    height, width = a.shape[-2:]
    missing = [-side % 2**levels for side in (height, width)]
    pad = (0, missing[1], 0, missing[0])
    low_a, low_b = (F.pad(image, pad, mode="replicate") for image in (a, b))
    kept = []
    for _ in range(levels):
        (low_a, detail_a), (low_b, detail_b) = haar(low_a), haar(low_b)
        kept.append(torch.where(detail_a.abs() >= detail_b.abs(), detail_a, detail_b))
    fused = (low_a + low_b) / 2
    for detail in reversed(kept):
        fused = inverse_haar(fused, detail)
    return fused[..., :height, :width].clamp(0, 1)


def haar(image: Tensor) -> tuple[Tensor, Tensor]:
    """One level of the orthonormal Haar transform.

    Args:
        image: Shape ``(B, 1, H, W)`` with even sides.

    Returns:
        The approximation ``(B, 1, H / 2, W / 2)`` and the three details ``(B, 3, H / 2, W / 2)``.
    """
    top, bottom = image[..., ::2, :], image[..., 1::2, :]
    tl, tr, bl, br = top[..., ::2], top[..., 1::2], bottom[..., ::2], bottom[..., 1::2]
    details = (tl - tr + bl - br, tl + tr - bl - br, tl - tr - bl + br)
    return (tl + tr + bl + br) / 2, torch.cat(details, dim=1) / 2


def inverse_haar(low: Tensor, details: Tensor) -> Tensor:
    """The inverse of :func:`haar`."""
    h, v, d = details.chunk(3, dim=1)
    fused = low.new_empty(*low.shape[:2], 2 * low.shape[2], 2 * low.shape[3])
    fused[..., ::2, ::2] = low + h + v + d
    fused[..., ::2, 1::2] = low - h + v - d
    fused[..., 1::2, ::2] = low + h - v - d
    fused[..., 1::2, 1::2] = low - h - v + d
    return fused / 2


# Li, Kang & Hu 2013, *Image fusion with guided filtering*, IEEE TIP 22:2864, section III and the parameters of IV-B.
_BASE_RADIUS = 15  # a mean of 31 x 31
_SALIENCY_RADIUS, _SALIENCY_SIGMA = 5, 5.0
_RADIUS_BASE, _EPSILON_BASE = 45, 0.3
_RADIUS_DETAIL, _EPSILON_DETAIL = 7, 1e-6


def guided_filter_fusion(a: Tensor, b: Tensor) -> Tensor:
    """Base and detail weighed by which image is more salient, the weights filtered along edges (GFF; Li et al. 2013).

    Where both images are equally salient (air), either weight map is 1, so the weights still sum to 1.
    """
    saliency = [_blurred(_laplacian(image).abs()) for image in (a, b)]
    first = (saliency[0] >= saliency[1]).to(a.dtype)
    bases = [box_mean(image, _BASE_RADIUS) for image in (a, b)]
    fused = torch.zeros_like(a)
    layers = (
        (bases, _RADIUS_BASE, _EPSILON_BASE),
        ([image - base for image, base in zip((a, b), bases, strict=True)], _RADIUS_DETAIL, _EPSILON_DETAIL),
    )
    for layer, radius, epsilon in layers:
        weight_a = guided_filter(first, a, radius, epsilon).clamp(0, 1)
        weight_b = guided_filter(1 - first, b, radius, epsilon).clamp(0, 1)
        total = weight_a + weight_b
        share = torch.where(total > 0, weight_a / total.clamp_min(1e-12), torch.full_like(total, 0.5))
        fused = fused + share * layer[0] + (1 - share) * layer[1]
    return fused.clamp(0, 1)


def guided_filter(image: Tensor, guide: Tensor, radius: int, epsilon: float) -> Tensor:
    """An image smoothed along the edges of another one (He, Sun & Tang 2013, equations 4 to 8).

    Args:
        image: What is filtered, shape ``(B, 1, H, W)``.
        guide: Whose edges are kept, the same shape.
        radius: Of the square windows.
        epsilon: Variance of the guide below which a window counts as flat.
    """
    guide64, image64 = guide.double(), image.double()  # small variances are differences of large means
    mean_g, mean_i = box_mean(guide64, radius), box_mean(image64, radius)
    variance = box_mean(guide64.square(), radius) - mean_g.square()
    covariance = box_mean(guide64 * image64, radius) - mean_g * mean_i
    slope = covariance / (variance + epsilon)
    offset = mean_i - slope * mean_g
    return (box_mean(slope, radius) * guide64 + box_mean(offset, radius)).to(image.dtype)


def box_mean(image: Tensor, radius: int) -> Tensor:
    """Mean over a square of side ``2 radius + 1``, of what of it lies inside the image; by cumulative sums."""
    out = image.double()
    for dim in (-2, -1):
        side = out.shape[dim]
        sums = F.pad(out.cumsum(dim), (1, 0) if dim == -1 else (0, 0, 1, 0))
        place = torch.arange(side)
        last, first = (place + radius + 1).clamp_max(side), (place - radius).clamp_min(0)
        count = (last - first).to(out.dtype).view(-1, *(1,) * (-1 - dim))
        out = (sums.index_select(dim, last) - sums.index_select(dim, first)) / count
    return out.to(image.dtype)


def _laplacian(image: Tensor) -> Tensor:
    kernel = torch.tensor([[0.0, 1.0, 0.0], [1.0, -4.0, 1.0], [0.0, 1.0, 0.0]]).to(image)
    return F.conv2d(F.pad(image, (1, 1, 1, 1), mode="replicate"), kernel[None, None])


def _blurred(image: Tensor) -> Tensor:
    place = torch.arange(-_SALIENCY_RADIUS, _SALIENCY_RADIUS + 1, dtype=torch.float64)
    bell = torch.exp(-place.square() / (2 * _SALIENCY_SIGMA**2))
    bell = (bell / bell.sum()).to(image)
    r = _SALIENCY_RADIUS
    padded = F.pad(image, (r, r, r, r), mode="replicate")
    return F.conv2d(F.conv2d(padded, bell.view(1, 1, 1, -1)), bell.view(1, 1, -1, 1))
