"""The training loss: overlap plus a voxel-wise term, and optional terms for surfaces, tubes and spread.

Voxels marked *ignore* take part in no term. Where a class was not looked for in a case, its probability is added to the
background's before anything is compared (the marginal loss of Shi et al., Med Image Anal 70:101979, 2021): what is
called background there may be that class, and is held against nobody. Their exclusion loss says what is known of such a
class all the same: it does not lie where another organ was contoured (:data:`MARGINAL_EXCLUSION`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

import numpy as np
import torch
from torch import Tensor, nn

from traindx.errors import UsageError
from traindx.recipes.segmentation.labels import IGNORE

TERMS: Mapping[str, str] = MappingProxyType(
    {
        "dice": "1 - soft Dice, mean over the classes that were looked for",
        "ce": "cross-entropy",
        "focal": "focal cross-entropy, gamma 2 (Lin et al., ICCV 2017, eq. 4)",
        "boundary": "mean of p times the signed distance to the surface (Kervadec et al., MIDL 2019, eq. 5)",
        "cldice": "1 - soft centre-line Dice (Shit et al., CVPR 2021)",
        "spread": "shortfall of the standard deviation of p(foreground) against that of the labels",
        "entropy": "mean entropy of the class probabilities",
        "marginal_dice": "dice, with the background and what was merged with it as one class more (Shi et al. 2021)",
        "exclusion_dice": "soft Dice of each class that was not looked for with all organs that were contoured",
        "exclusion_ce": "mean of log(1 + p) of the classes that were not looked for, where an organ was contoured",
    }
)

DEFAULT_WEIGHTS: Mapping[str, float] = MappingProxyType({"dice": 1.0, "ce": 1.0})

MARGINAL_EXCLUSION: Mapping[str, float] = MappingProxyType(
    {"marginal_dice": 1.0, "ce": 1.0, "exclusion_dice": 1.0, "exclusion_ce": 1.0}
)
"""Marginal and exclusion loss of Shi et al.; ``ce`` is their marginal cross-entropy. They weigh all four by 1."""

_TINY = 1e-5
"""Smoothing of Dice, in voxels: small, so that an empty class that is predicted costs nearly 1."""


@dataclass(frozen=True)
class Compared:
    """What the terms compare.

    Attributes:
        p: Probabilities after merging, 0 where nobody looked, shape ``(B, C, D, H, W)``.
        log_p: Their logarithm, everywhere.
        truth: One-hot label, 0 where nobody looked, of the same shape.
        seen: True where somebody looked, shape ``(B, 1, D, H, W)``.
        labelled: True where a class was looked for, shape ``(B, C - 1)``.
        hidden: Probabilities before merging of the classes without background that were not looked for, 0 for the
            others and where nobody looked, shape ``(B, C - 1, D, H, W)``.
    """

    p: Tensor
    log_p: Tensor
    truth: Tensor
    seen: Tensor
    labelled: Tensor
    hidden: Tensor


class SegmentationLoss(nn.Module):
    """Weighted terms of :data:`TERMS`.

    Args:
        weights: Weight of each term; terms of weight 0 or not named are not computed.
        gamma: Focusing exponent of the focal term.
        boundary_cap: Distances in voxels are clipped to ``±boundary_cap``.

    Raises:
        UsageError: A weight is given to a term that does not exist: a misspelt weight never vanishes silently.
    """

    def __init__(
        self, weights: Mapping[str, float] | None = None, *, gamma: float = 2.0, boundary_cap: float = 10.0
    ) -> None:
        super().__init__()
        self.weights = dict(DEFAULT_WEIGHTS if weights is None else weights)
        unknown = sorted(set(self.weights) - set(TERMS))
        if unknown:
            raise UsageError(f"no loss term is called {', '.join(unknown)}", expected=f"one of {', '.join(TERMS)}")
        self.weights = {name: float(weight) for name, weight in self.weights.items() if weight}
        if not self.weights:
            raise UsageError("every loss weight is 0", expected="at least one term")
        self.gamma = gamma
        self.boundary_cap = boundary_cap

    def forward(self, logits: Tensor, label: Tensor, labelled: Tensor) -> dict[str, Tensor]:
        """The weighted terms; their sum is what is minimised.

        Args:
            logits: Shape ``(B, C, D, H, W)``, or ``(B, heads, C, D, H, W)`` with deep supervision, finest first. Heads
                weigh 1, 1/2, 1/4, ... normalised to one, as in nnU-Net.
            label: Class indices, -1 for *ignore*, shape ``(B, 1, D, H, W)``.
            labelled: True where a class was looked for, shape ``(B, C - 1)``.
        """
        if logits.ndim == 5:
            return self._terms(logits.float(), label, labelled)
        shares = [2.0**-head for head in range(logits.shape[1])]
        total: dict[str, Tensor] = {}
        for head, share in enumerate(shares):
            for name, value in self._terms(logits[:, head].float(), label, labelled).items():
                weighted = value * (share / sum(shares))
                total[name] = total[name] + weighted if name in total else weighted
        return total

    def _terms(self, logits: Tensor, label: Tensor, labelled: Tensor) -> dict[str, Tensor]:
        if label.shape != (logits.shape[0], 1, *logits.shape[2:]):
            raise UsageError(
                f"the label has shape {tuple(label.shape)}",
                expected=f"{(logits.shape[0], 1, *logits.shape[2:])} for logits of shape {tuple(logits.shape)}",
            )
        seen = label != IGNORE
        classes = logits.shape[1]
        truth = nn.functional.one_hot(label[:, 0].clamp(min=0).long(), classes).movedim(-1, 1).to(logits.dtype)
        separate = torch.log_softmax(logits, dim=1)
        log_p = marginal(separate, labelled)
        compared = Compared(
            p=log_p.exp() * seen,
            log_p=log_p,
            truth=truth * seen,
            seen=seen,
            labelled=labelled,
            hidden=separate[:, 1:].exp() * (seen & ~labelled.view(*labelled.shape, 1, 1, 1)),
        )
        terms: dict[str, Tensor] = {}
        for name, weight in self.weights.items():
            value: Tensor = getattr(self, f"_{name}")(compared)
            terms[name] = weight * value
        return terms

    def _dice(self, c: Compared) -> Tensor:
        from monai.losses import DiceLoss

        per_class = DiceLoss(include_background=False, reduction="none", smooth_nr=_TINY, smooth_dr=_TINY)(c.p, c.truth)
        return _mean_over(per_class.flatten(1), c.labelled)

    def _ce(self, c: Compared) -> Tensor:
        return -(c.truth * c.log_p.clamp(min=-100)).sum() / c.seen.sum().clamp(min=1)

    def _focal(self, c: Compared) -> Tensor:
        log_true = (c.truth * c.log_p.clamp(min=-100)).sum(dim=1)
        return -((1 - log_true.exp()) ** self.gamma * log_true * c.seen[:, 0]).sum() / c.seen.sum().clamp(min=1)

    def _boundary(self, c: Compared) -> Tensor:
        distance = signed_distance(c.truth[:, 1:], self.boundary_cap) * c.seen
        per_class = (c.p[:, 1:] * distance).flatten(2).sum(-1) / c.seen.flatten(1).sum(-1, keepdim=True).clamp(min=1)
        return _mean_over(per_class, c.labelled)

    def _cldice(self, c: Compared) -> Tensor:
        from monai.losses import SoftclDiceLoss

        # one class at a time: MONAI sums the skeletons of all channels before it divides
        term = SoftclDiceLoss(reduction="none")
        per_class = [term(c.p[:, k : k + 1], c.truth[:, k : k + 1]) for k in range(1, c.p.shape[1])]
        return _mean_over(torch.stack(per_class, dim=1), c.labelled)

    def _spread(self, c: Compared) -> Tensor:
        return torch.relu(
            _masked_sd(c.truth[:, 1:].sum(1), c.seen[:, 0]) - _masked_sd(c.p[:, 1:].sum(1), c.seen[:, 0])
        ).mean()

    def _entropy(self, c: Compared) -> Tensor:
        return -(c.p * c.log_p.clamp(min=-100)).sum() / c.seen.sum().clamp(min=1)

    def _marginal_dice(self, c: Compared) -> Tensor:
        from monai.losses import DiceLoss

        per_class = DiceLoss(reduction="none", smooth_nr=_TINY, smooth_dr=_TINY)(c.p, c.truth)
        return _mean_over(per_class.flatten(1), torch.cat([torch.ones_like(c.labelled[:, :1]), c.labelled], dim=1))

    def _exclusion_dice(self, c: Compared) -> Tensor:
        organs = c.truth[:, 1:].sum(1, keepdim=True)
        overlap, sizes = (value.flatten(2).sum(-1) for value in (c.hidden * organs, c.hidden + organs))
        # 0 and not 1 where both are empty: nothing overlaps
        return _mean_over(2 * overlap / sizes.clamp(min=_TINY), ~c.labelled)

    def _exclusion_ce(self, c: Compared) -> Tensor:
        # log(p + 1) and not log(p), so that it is bounded below by 0
        return (c.hidden.log1p() * c.truth[:, 1:].sum(1, keepdim=True)).sum() / c.seen.sum().clamp(min=1)


def marginal(log_p: Tensor, labelled: Tensor) -> Tensor:
    """Move the probability of classes that were not looked for to the background.

    Args:
        log_p: Log-probabilities ``(B, C, ...)``, background first.
        labelled: Shape ``(B, C - 1)``.

    Returns:
        Log-probabilities of the same shape; classes that were not looked for get ``-inf`` replaced by -100.
    """
    if bool(labelled.all()):
        return log_p
    known = labelled.view(*labelled.shape, *([1] * (log_p.ndim - 2)))
    hidden = log_p[:, 1:].masked_fill(known, -torch.inf)
    background = torch.logsumexp(torch.cat([log_p[:, :1], hidden], dim=1), dim=1, keepdim=True)
    return torch.cat([background, log_p[:, 1:].masked_fill(~known, -100.0)], dim=1)


def signed_distance(truth: Tensor, cap: float) -> Tensor:
    """Distance in voxels to the surface of each channel, negative inside, clipped; 0 for a channel without surface.

    Args:
        truth: One-hot, shape ``(B, C, D, H, W)``.
        cap: Distances are clipped to ``±cap`` and divided by it.
    """
    from scipy.ndimage import distance_transform_edt

    masks = truth.detach().cpu().numpy() > 0.5
    out = np.zeros(masks.shape, dtype=np.float32)
    for index in np.ndindex(*masks.shape[:2]):
        mask = masks[index]
        if mask.any() and not mask.all():
            # half a voxel off on each side, so that the zero lies on the face between two voxels
            outside = distance_transform_edt(~mask) - 0.5 * ~mask
            inside = distance_transform_edt(mask) - 0.5 * mask
            out[index] = np.clip(outside - inside, -cap, cap) / cap
    return torch.from_numpy(out).to(truth)


def _mean_over(per_class: Tensor, labelled: Tensor) -> Tensor:
    """Mean of ``(B, C - 1)`` over the classes that were looked for."""
    weight = labelled.to(per_class.dtype)
    return (per_class * weight).sum() / weight.sum().clamp(min=1)


def _masked_sd(values: Tensor, seen: Tensor) -> Tensor:
    """Standard deviation over the labelled voxels of each sample; shape ``(B,)``."""
    count = seen.flatten(1).sum(-1).clamp(min=1)
    mean = (values * seen).flatten(1).sum(-1) / count
    square = ((values - mean.view(-1, 1, 1, 1)) ** 2 * seen).flatten(1).sum(-1) / count
    return (square + 1e-12).sqrt()
