r"""FMI: how much of the local features of both sources is in the fused image (Haghighat et al. 2011).

Within each window of 3 x 3 pixels the feature values, scaled to sum to 1, are taken for a distribution over the nine
*places* of the window, in raster order. The joint distribution of source and fused image is built from these two
margins and their correlation: a mixture of the independent one and the Fréchet bound of the sign of the correlation
(Haghighat, Aghagolzadeh & Seyedarabi 2011, *A non-reference image fusion metric based on mutual information of image
features*, Computers & Electrical Engineering 37:744, section 3, after Nelsen). The information is normalised to
:math:`2 I(A;F) / (H(A) + H(F))`, averaged over windows and over both sources; 1 for identical windows.

Conventions, and what is wrong with them:

* The feature is the image itself ("FMI pixel", ``FMI_p``) or the magnitude of its gradient (``FMI_g``); papers often
  do not say which, and the two differ by tenths. Both are named here.
* A window of air in both images counts as identical, hence 1: an image that is half air begins at one half.
* The order of places is that of reading, so the figure changes when images are turned.
* It is blind to brightness: a window that is scaled by any factor is identical.

Written from the equations; where the correlation of the two margins exceeds what the Fréchet bound allows, the bound
is taken.
"""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Feature = Literal["pixel", "gradient"]

WINDOW = 3
"""Side of a window; the authors' default."""

_TINY = 1e-12
_CHUNK = 1024  # windows whose joint distributions (81 numbers each) fit into the cache of a core


def feature_mutual_information(a: Tensor, b: Tensor, fused: Tensor, feature: Feature = "pixel") -> float:
    """FMI of one fused image with both sources, between 0 and 1.

    Args:
        a: First source, shape ``(H, W)`` on [0, 1].
        b: Second source.
        fused: Fused image.
        feature: ``pixel`` for the images themselves, ``gradient`` for the magnitude of central differences.
    """
    first, second, image = (_windows(_feature(value.double(), feature)) for value in (a, b, fused))
    return (float(_similarity(first, image).mean()) + float(_similarity(second, image).mean())) / 2


def _feature(image: Tensor, feature: Feature) -> Tensor:
    if feature == "pixel":
        return image
    rows, columns = torch.gradient(image)
    return torch.hypot(rows, columns)


def _windows(image: Tensor) -> Tensor:
    """Distributions over the places of all windows, shape ``(N, 9)``; uniform where a window is zero."""
    flat = F.unfold(image[None, None], WINDOW)[0].T
    total = flat.sum(dim=1, keepdim=True)
    return torch.where(total > 0, flat / total.clamp_min(_TINY), torch.full_like(flat, 1 / WINDOW**2))


def _similarity(p: Tensor, q: Tensor) -> Tensor:
    """Normalised information of each pair of distributions, shape ``(N,)``."""
    result = torch.ones(len(p), dtype=p.dtype)
    differ = (p - q).abs().amax(dim=1) > _TINY
    if bool(differ.any()):
        chunks = zip(torch.split(p[differ], _CHUNK), torch.split(q[differ], _CHUNK), strict=True)
        result[differ] = torch.cat([_of_different(first, second) for first, second in chunks])
    return result


def _of_different(p: Tensor, q: Tensor) -> Tensor:
    places = torch.arange(p.shape[1], dtype=p.dtype)
    centred = [value - value.mean(dim=1, keepdim=True) for value in (p, q)]
    scale = (centred[0].square().sum(1) * centred[1].square().sum(1)).sqrt()
    correlation = torch.where(scale > _TINY, (centred[0] * centred[1]).sum(1) / scale.clamp_min(_TINY), 0.0)
    cdf_p, cdf_q = p.cumsum(1)[:, :, None], q.cumsum(1)[:, None, :]
    positive = correlation[:, None, None] >= 0
    bound = torch.where(positive, torch.minimum(cdf_p, cdf_q), (cdf_p + cdf_q - 1).clamp_min(0))
    spread = [_spread(value, places) for value in (p, q)]
    covariance = (bound - cdf_p * cdf_q).sum(dim=(1, 2))  # Hoeffding's identity: of places drawn from the bound
    reach = covariance / (spread[0] * spread[1]).clamp_min(_TINY)
    share = torch.where(reach.abs() > _TINY, correlation / torch.where(reach.abs() > _TINY, reach, 1.0), 0.0)
    share = share.clamp(0, 1)[:, None, None]
    cornered = F.pad(bound, (1, 0, 1, 0))
    extreme = cornered[:, 1:, 1:] - cornered[:, :-1, 1:] - cornered[:, 1:, :-1] + cornered[:, :-1, :-1]
    joint = share * extreme + (1 - share) * p[:, :, None] * q[:, None, :]
    entropy_p, entropy_q, both = _entropy(p), _entropy(q), _entropy(joint.flatten(1))
    margins = entropy_p + entropy_q
    return torch.where(margins > _TINY, 2 * (margins - both) / margins.clamp_min(_TINY), 0.0).clamp(0, 1)


def _spread(p: Tensor, places: Tensor) -> Tensor:
    moment = (p * places).sum(dim=1)
    return ((p * places.square()).sum(dim=1) - moment.square()).clamp_min(0).sqrt()


def _entropy(p: Tensor) -> Tensor:
    return -torch.xlogy(p, p.clamp_min(_TINY)).sum(dim=1)
