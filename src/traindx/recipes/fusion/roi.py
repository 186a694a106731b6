r"""The ROI loss: structure of MR in soft tissue, of CT in bone, and what a lesion head sees.

.. math:: L = \alpha (1 - SSIM(F, F^* | soft)) + \beta (1 - SSIM(F, F^* | bone)) + \gamma (1 - Dice(h(F), h(F^*)))

F* is MR in soft tissue and CT in bone (:mod:`traindx.recipes.fusion.target`), so the first two terms are those of the
document: 1 - SSIM(F, MR | soft) and 1 - SSIM(F, CT | bone). All three are zero, with gradient zero, at the target of
the diffusion loss.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from traindx.errors import InputError

DATA_RANGE = 1.0
"""Data range of SSIM: images in [0, 1]. SSIM is defined for intensities of 0 and more: on values of both signs its
luminance term rewards the wrong thing."""

_K1, _K2 = 0.01, 0.03  # Wang et al. 2004, section III-C
_RADIUS, _DEVIATION = 5, 1.5  # same place: an 11 x 11 Gaussian window of standard deviation 1.5


@dataclass(frozen=True)
class RoiWeights:
    """Weights of the ROI loss.

    Attributes:
        alpha: Soft tissue, against MR.
        beta: Bone, against CT.
        gamma: Lesion.
    """

    alpha: float = 1.0
    beta: float = 1.0
    gamma: float = 2.0

    def __post_init__(self) -> None:
        for name, weight in vars(self).items():
            if not 0 <= weight < float("inf"):
                raise InputError(f"{name} is {weight}", expected="a finite weight of 0 or more")


PRESETS: Mapping[str, RoiWeights] = {
    "default": RoiWeights(1.0, 1.0, 2.0),
    "brain_tumor": RoiWeights(1.5, 0.5, 2.0),
    "bone_tumor": RoiWeights(0.5, 2.0, 2.0),
    "metastasis": RoiWeights(1.0, 1.0, 3.0),
    "stroke": RoiWeights(1.0, 1.2, 3.0),
}
"""The document's presets: tumours of the brain need MR, of bone CT, and small lesions the lesion term."""


def region_ssim(image: Tensor, reference: Tensor, region: Tensor, data_range: float = DATA_RANGE) -> Tensor:
    """SSIM whose local statistics see the region only, averaged over the region's pixels.

    Restricting the window keeps what lies outside from counting: cortical bone is thinner than the window, and an
    ordinary SSIM would compare mostly the soft tissue beside it.

    Args:
        image: Shape ``(B, 1, ...)`` in two or three dimensions.
        reference: The same shape.
        region: 0 and 1, the same shape.
        data_range: Range of both images.

    Returns:
        A scalar; 1, without gradient, where the region is empty.
    """
    inside = region.sum()
    weight = _blurred(region).clamp_min(1e-6)

    def mean(values: Tensor) -> Tensor:
        return _blurred(values * region) / weight

    mu_x, mu_y = mean(image), mean(reference)
    var_x = (mean(image.square()) - mu_x.square()).clamp_min(0)
    var_y = (mean(reference.square()) - mu_y.square()).clamp_min(0)
    covariance = mean(image * reference) - mu_x * mu_y
    c1, c2 = (_K1 * data_range) ** 2, (_K2 * data_range) ** 2
    luminance = (2 * mu_x * mu_y + c1) / (mu_x.square() + mu_y.square() + c1)
    structure = (2 * covariance + c2) / (var_x + var_y + c2)
    similar = (luminance * structure * region).sum() / inside.clamp_min(1)
    # no branch: it would wait for the device, and break the graph of a compiled step
    return torch.where(inside > 0, similar, torch.ones_like(similar))


def lesion_loss(head: nn.Module, fused: Tensor, reference: Tensor) -> Tensor:
    r"""One minus the Dice of what a frozen head sees in both images.

    In the form :math:`2\sum pq / (\sum p^2 + \sum q^2)` it is 1 for p = q and for nothing else. Gradient flows through
    the head into ``fused``; the head itself has none.

    Args:
        head: The frozen head: images in [-1, 1] to logits.
        fused: Image under training.
        reference: The target.
    """
    seen = torch.sigmoid(head(fused))
    with torch.no_grad():
        wanted = torch.sigmoid(head(reference))
    overlap = 2 * (seen * wanted).sum() + 1e-3
    return 1 - overlap / (seen.square().sum() + wanted.square().sum() + 1e-3)


def roi_terms(
    fused: Tensor, batch: Mapping[str, Tensor], weights: RoiWeights, head: nn.Module | None
) -> dict[str, Tensor]:
    """The weighted terms of the ROI loss; one of weight 0 is left out.

    Args:
        fused: Images in [-1, 1].
        batch: ``fused`` (the target), ``soft`` and ``bone``.
        weights: Weights.
        head: Lesion head; without one there is no lesion term.
    """
    target = batch["fused"]
    shown, wanted = (fused + 1) / 2, (target + 1) / 2  # not clipped: a clip would stop the gradient
    terms = {}
    if weights.alpha:
        terms["soft"] = weights.alpha * (1 - region_ssim(shown, wanted, batch["soft"]))
    if weights.beta:
        terms["bone"] = weights.beta * (1 - region_ssim(shown, wanted, batch["bone"]))
    if weights.gamma and head is not None:
        terms["lesion"] = weights.gamma * lesion_loss(head, fused, target)
    return terms


def _blurred(image: Tensor) -> Tensor:
    """Gaussian window along every spatial axis, zeros outside."""
    axis = torch.arange(-_RADIUS, _RADIUS + 1, device=image.device, dtype=image.dtype)
    bell = torch.exp(-axis.square() / (2 * _DEVIATION**2))
    bell = bell / bell.sum()
    dims = image.dim() - 2
    convolve = F.conv2d if dims == 2 else F.conv3d
    for place in range(dims):
        shape, padding = [1] * dims, [0] * dims
        shape[place], padding[place] = len(bell), _RADIUS
        image = convolve(image, bell.view(1, 1, *shape), padding=padding)
    return image
