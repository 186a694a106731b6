"""Image-fusion metrics as the field defines them, for 2D images on a declared range.

All functions take images of shape ``(H, W)`` or ``(B, 1, H, W)`` scaled to ``[0, 1]`` by a *fixed* mapping of the raw
units (never by the image's own minimum and maximum) and return a float averaged over the batch. Every one of them can
be gamed (noise raises EN, SD, SF and AG; a copy of one input raises MI), so they are only ever shown beside the trivial
baselines of :mod:`traindx.recipes.fusion.baselines`.

Notation: A and B are the sources (CT and MR), F the fused image.
"""

from __future__ import annotations

import math
from collections.abc import Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

LEVELS = 256
"""Grey levels of the histograms behind EN and MI: the field computes both on 8-bit images."""


def entropy(fused: Tensor) -> float:
    r"""EN, Shannon entropy of the 256-level histogram in bits, :math:`-\sum_l p_l \log_2 p_l` (Roberts et al. 2008).

    >>> entropy(torch.tensor([[0.0, 1.0]]))
    1.0
    """
    return _mean(_entropy_of(torch.bincount(levels.flatten(), minlength=LEVELS)) for levels in _each(_quantise(fused)))


def standard_deviation(fused: Tensor) -> float:
    """SD, population standard deviation of the image on the 0..255 scale (Rao 1997)."""
    return _mean(float(255 * image.std(correction=0)) for image in _each(fused))


def spatial_frequency(fused: Tensor) -> float:
    r"""SF, :math:`\sqrt{RF^2 + CF^2}` of first differences, 0..255 scale (Eskicioglu & Fisher 1995, eq. 11-13)."""

    def one(image: Tensor) -> float:
        rows = (255 * image.diff(dim=-1)).square().mean()
        columns = (255 * image.diff(dim=-2)).square().mean()
        return math.sqrt(float(rows + columns))

    return _mean(one(image) for image in _each(fused))


def average_gradient(fused: Tensor) -> float:
    r"""AG, mean of :math:`\sqrt{(\Delta_x^2+\Delta_y^2)/2}` of forward differences, 0..255 (Cui et al. 2015, eq. 9)."""

    def one(image: Tensor) -> float:
        dx = 255 * image[:-1, 1:] - 255 * image[:-1, :-1]
        dy = 255 * image[1:, :-1] - 255 * image[:-1, :-1]
        return float(((dx.square() + dy.square()) / 2).sqrt().mean())

    return _mean(one(image) for image in _each(fused))


def mutual_information(a: Tensor, b: Tensor, fused: Tensor) -> float:
    """MI, :math:`I(A;F) + I(B;F)` in bits from 256-level joint histograms (Qu et al. 2002, eq. 4)."""

    def one(source: Tensor, image: Tensor) -> float:
        joint = torch.bincount((source * LEVELS + image).flatten(), minlength=LEVELS**2).reshape(LEVELS, LEVELS)
        return _entropy_of(joint.sum(0)) + _entropy_of(joint.sum(1)) - _entropy_of(joint.flatten())

    triples = zip(_each(_quantise(a)), _each(_quantise(b)), _each(_quantise(fused)), strict=True)
    return _mean(one(first, image) + one(second, image) for first, second, image in triples)


def sum_of_correlations_of_differences(a: Tensor, b: Tensor, fused: Tensor) -> float:
    """SCD, :math:`r(F-B, A) + r(F-A, B)` with Pearson's r (Aslantas & Bendes 2015, eq. 3); between -2 and 2."""
    triples = zip(_each(a), _each(b), _each(fused), strict=True)
    return _mean(_pearson(image - second, first) + _pearson(image - first, second) for first, second, image in triples)


def visual_information_fidelity(a: Tensor, b: Tensor, fused: Tensor) -> float:
    """VIF of F against A plus VIF of F against B (pixel domain, four scales; Sheikh & Bovik 2006).

    Each is 1 for an identical image and 0 for one that carries no information; so a copy of A has 1 + VIF(A, B).
    """
    triples = zip(_each(a), _each(b), _each(fused), strict=True)
    return _mean(vif(first, image) + vif(second, image) for first, second, image in triples)


def vif(reference: Tensor, image: Tensor, noise_variance: float = 2.0) -> float:
    """Pixel-domain VIF of one image, shape ``(H, W)`` in [0, 1].

    Args:
        reference: Undistorted image.
        image: Image under test.
        noise_variance: Variance of the visual noise on the 0..255 scale; 2 in the authors' ``vifp_mscale``.
    """
    ref = 255 * reference.double()[None, None]
    dist = 255 * image.double()[None, None]
    numerator = denominator = 0.0
    for scale in range(1, 5):
        size = 2 ** (5 - scale) + 1
        bell = _gaussian(size, size / 5).to(ref)
        if scale > 1:
            ref = _smooth(ref, bell)[..., ::2, ::2]
            dist = _smooth(dist, bell)[..., ::2, ::2]
        if min(ref.shape[-2:]) < size:
            break  # smaller than the window: no further scale exists for this image
        mean_r, mean_d = _smooth(ref, bell), _smooth(dist, bell)
        var_r = (_smooth(ref * ref, bell) - mean_r.square()).clamp_min(0)
        var_d = (_smooth(dist * dist, bell) - mean_d.square()).clamp_min(0)
        covariance = _smooth(ref * dist, bell) - mean_r * mean_d
        gain = covariance / (var_r + 1e-10)
        residual = var_d - gain * covariance
        flat_r, flat_d, inverse = var_r < 1e-10, var_d < 1e-10, gain < 0
        gain = torch.where(flat_r | flat_d | inverse, torch.zeros_like(gain), gain)
        residual = torch.where(flat_r | inverse, var_d, residual)
        residual = torch.where(flat_d, torch.zeros_like(residual), residual).clamp_min(1e-10)
        numerator += float(torch.log10(1 + gain.square() * var_r / (residual + noise_variance)).sum())
        denominator += float(torch.log10(1 + var_r / noise_variance).sum())
    return numerator / denominator if denominator > 0 else 1.0


# Xydeas & Petrovic, Electronics Letters 36:308 (2000): sigmoids of edge-strength and orientation preservation.
_GAMMA_G, _KAPPA_G, _SIGMA_G = 0.9994, -15.0, 0.5
_GAMMA_A, _KAPPA_A, _SIGMA_A = 0.9879, -22.0, 0.8


def edge_preservation(a: Tensor, b: Tensor, fused: Tensor) -> float:
    """Qabf, edge information carried from both sources to F, weighted by source edge strength; 0 to about 1.

    Source: Xydeas & Petrovic 2000, equations 1 to 8, with their constants and L = 1.
    """
    triples = zip(_each(a), _each(b), _each(fused), strict=True)
    return _mean(_qabf(first, second, image) for first, second, image in triples)


def _qabf(a: Tensor, b: Tensor, fused: Tensor) -> float:
    (strength_a, angle_a), (strength_b, angle_b), (strength_f, angle_f) = (_sobel(image) for image in (a, b, fused))
    kept_a = _kept(strength_a, angle_a, strength_f, angle_f)
    kept_b = _kept(strength_b, angle_b, strength_f, angle_f)
    weight = float((strength_a + strength_b).sum())
    return float((kept_a * strength_a + kept_b * strength_b).sum()) / weight if weight > 0 else 0.0


def _kept(strength: Tensor, angle: Tensor, strength_f: Tensor, angle_f: Tensor) -> Tensor:
    smaller, larger = torch.minimum(strength, strength_f), torch.maximum(strength, strength_f)
    relative = torch.where(larger > 0, smaller / larger.clamp_min(1e-12), torch.zeros_like(larger))
    alignment = 1 - (angle - angle_f).abs() / (math.pi / 2)
    by_strength = _GAMMA_G / (1 + torch.exp(_KAPPA_G * (relative - _SIGMA_G)))
    by_angle = _GAMMA_A / (1 + torch.exp(_KAPPA_A * (alignment - _SIGMA_A)))
    return by_strength * by_angle


def _sobel(image: Tensor) -> tuple[Tensor, Tensor]:
    """Edge strength and orientation in (-pi/2, pi/2] by Sobel's operator, replicated borders."""
    kernel = torch.tensor([[-1.0, 0.0, 1.0], [-2.0, 0.0, 2.0], [-1.0, 0.0, 1.0]], dtype=torch.float64)
    padded = F.pad(image.double()[None, None], (1, 1, 1, 1), mode="replicate")
    horizontal = F.conv2d(padded, kernel.to(padded)[None, None])[0, 0]
    vertical = F.conv2d(padded, kernel.T.to(padded)[None, None])[0, 0]
    slope = vertical / torch.where(horizontal == 0, torch.ones_like(horizontal), horizontal)
    angle = torch.where(horizontal == 0, torch.full_like(horizontal, math.pi / 2), torch.atan(slope))
    return torch.hypot(horizontal, vertical), angle


def _gaussian(size: int, sigma: float) -> Tensor:
    axis = torch.arange(size, dtype=torch.float64) - (size - 1) / 2
    bell = torch.exp(-axis.square() / (2 * sigma**2))
    return bell / bell.sum()


def _smooth(image: Tensor, bell: Tensor) -> Tensor:
    """The valid part of an image smoothed by a Gaussian, one axis after the other."""
    return F.conv2d(F.conv2d(image, bell.view(1, 1, 1, -1)), bell.view(1, 1, -1, 1))


def _pearson(x: Tensor, y: Tensor) -> float:
    x, y = x.double() - x.double().mean(), y.double() - y.double().mean()
    scale = float(x.norm() * y.norm())
    return float((x * y).sum()) / scale if scale > 0 else 0.0


def _entropy_of(counts: Tensor) -> float:
    p = counts[counts > 0].double()
    p = p / p.sum()
    return abs(float(-(p * p.log2()).sum()))


def _quantise(image: Tensor) -> Tensor:
    """To 8-bit grey levels, as the field's reference codes do before counting histograms."""
    return (image.clamp(0, 1) * (LEVELS - 1)).round().long()


def _each(images: Tensor) -> list[Tensor]:
    """The single images of a batch, each of shape ``(H, W)``.

    Raises:
        ValueError: Neither ``(H, W)`` nor ``(B, 1, H, W)``.
    """
    if images.ndim == 2:
        return [images]
    if images.ndim == 4 and images.shape[1] == 1:
        return list(images[:, 0])
    raise ValueError(f"images are {tuple(images.shape)}; expected (H, W) or (B, 1, H, W)")


def _mean(values: Iterable[float]) -> float:
    found = list(values)
    return float(sum(found) / len(found))
