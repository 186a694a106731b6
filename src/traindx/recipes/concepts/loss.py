"""Losses: concepts with a capped weight of positives, boxes with a margin, prototypes with several positives."""

from __future__ import annotations

from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional as F

Pooling = Literal["lse", "mean"]

SHARPNESS = 4.0
"""Sharpness r of the log-sum-exp pooling (Pinheiro and Collobert, CVPR 2015, equation 6): between mean (0) and max."""

POS_WEIGHT_CAP = 10.0
"""A positive counts at most ten negatives: with fewer than one in eleven, its gradient would be mostly noise."""


def pooled(maps: Tensor, pooling: Pooling = "lse", sharpness: float = SHARPNESS) -> Tensor:
    """Concept logits ``(B, K)`` from maps of logits ``(B, K, h, w)``."""
    if pooling == "mean":
        return maps.mean(dim=(2, 3))
    flat = sharpness * maps.flatten(2)
    return (torch.logsumexp(flat, dim=2) - torch.log(torch.tensor(float(flat.shape[2])))) / sharpness


def positive_weights(labels: Tensor, cap: float = POS_WEIGHT_CAP) -> Tensor:
    """Negatives over positives of each concept, within [1/cap, cap]; 1 where one of the two is missing.

    Args:
        labels: Training labels ``(N, K)`` with NaN for "not known".
        cap: Largest weight.
    """
    positive = (labels == 1).sum(dim=0).float()
    negative = (labels == 0).sum(dim=0).float()
    weight = (negative / positive.clamp_min(1)).clamp(1 / cap, cap)
    return torch.where((positive > 0) & (negative > 0), weight, torch.ones_like(weight))


def class_weights(task: Tensor, classes: int) -> Tensor:
    """Weights of classes that make each count the same, with mean 1 over the images; 0 for a class without any.

    Args:
        task: Class of each training image, -1 where it is not known.
        classes: Number of classes T.
    """
    count = torch.bincount(task[task >= 0], minlength=classes).float()
    present = (count > 0).sum().clamp_min(1)
    return torch.where(count > 0, count.sum() / (present * count.clamp_min(1)), torch.zeros_like(count))


def concept_loss(logits: Tensor, labels: Tensor, weights: Tensor) -> Tensor:
    """Binary cross-entropy with weighted positives, mean over what is known; 0 where nothing is.

    Args:
        logits: ``(B, K)``.
        labels: ``(B, K)`` with NaN for "not known".
        weights: Weight of the positives ``(K,)``.
    """
    known = ~labels.isnan()
    each = F.binary_cross_entropy_with_logits(logits, labels.nan_to_num(), pos_weight=weights, reduction="none")
    return (each * known).sum() / known.sum().clamp_min(1)


def box_contrast(maps: Tensor, masks: Tensor, sharpness: float = SHARPNESS) -> tuple[Tensor, Tensor]:
    """Mean logit inside the boxes of a concept minus the pooled logit outside, and where there are boxes.

    Outside is pooled like a concept (log-sum-exp): with a mean over some 200 cells, a single hot cell in the wrong
    place would cost nothing. All boxes of a concept are one region, so none is the outside of another one; a cell that
    a box covers in part counts inside by its share and never outside, else the two sides would contradict each other.

    Args:
        maps: Logits ``(B, K, h, w)``.
        masks: Covered shares of the cells ``(B, K, h, w)``.
        sharpness: Sharpness of the pooling outside; 0 for the mean.

    Returns:
        Contrast ``(B, K)``, and True where an image has boxes of a concept and something outside them.
    """
    out = masks <= 0
    inside, outside = masks.sum(dim=(2, 3)), out.sum(dim=(2, 3))
    there = (inside > 0) & (outside > 0)
    mean_in = (maps * masks).sum(dim=(2, 3)) / inside.clamp_min(1e-6)
    if sharpness == 0:
        return mean_in - (maps * out).sum(dim=(2, 3)) / outside.clamp_min(1), there
    # -1e4 instead of minus infinity: an image that is covered altogether must not give a NaN gradient
    hottest = torch.logsumexp((sharpness * maps).masked_fill(~out, -1e4).flatten(2), dim=2)
    return mean_in - (hottest - outside.clamp_min(1).to(maps).log()) / sharpness, there


def box_loss(maps: Tensor, masks: Tensor, margin: float = 2.0) -> Tensor:
    """Hinge that asks for a contrast of at least ``margin`` logits; 0 in a batch without boxes."""
    contrast, there = box_contrast(maps, masks)
    return (F.relu(margin - contrast) * there).sum() / there.sum().clamp_min(1)


def box_direction(maps: Tensor, masks: Tensor, margin: float = 2.0) -> dict[str, float]:
    """What a step down the box loss does: mean change of the logit inside and outside the boxes, per unit step.

    Reported at the start of every training: inside must be positive, outside negative.

    Returns:
        ``inside``, ``outside`` and ``right``, the share of the (image, concept) pairs with boxes where both hold.
    """
    with torch.enable_grad():
        leaf = maps.detach().clone().requires_grad_()
        (gradient,) = torch.autograd.grad(box_loss(leaf, masks, margin), leaf)
    step = -gradient
    contrast, there = box_contrast(step, masks, sharpness=0)
    active = there & (step.abs().sum(dim=(2, 3)) > 0)
    if not bool(active.any()):
        return {"inside": 0.0, "outside": 0.0, "right": float("nan")}
    inside = (step * masks).sum(dim=(2, 3)) / masks.sum(dim=(2, 3)).clamp_min(1e-6)
    outside = inside - contrast
    right = (inside > 0) & (outside < 0)
    return {
        "inside": float(inside[active].mean()),
        "outside": float(outside[active].mean()),
        "right": float(right[active].float().mean()),
    }


def prototype_loss(embedding: Tensor, owner: Tensor, vectors: Tensor, temperature: float = 0.3) -> Tensor:
    """Supervised contrast with several positives: a patch against all prototypes, those of its concepts positive.

    The form with the sum inside the logarithm (Khosla et al., NeurIPS 2020, equation 3, ``L_in``): a patch has to be
    near *one* of its concept's prototypes. With the sum outside every patch pulls all of them to one place.

    Args:
        embedding: Unit vectors ``(N, D)``.
        owner: True where a patch shows a concept, ``(N, K)``, or where it is of a mode of it, ``(N, K, M)``; several
            may be true. With modes the other prototypes of its own concept are among those that it is told from, so
            that patches of a concept cannot become one point.
        vectors: Unit prototypes ``(K, M, D)``.
        temperature: Temperature of the softmax.
    """
    owner = owner if owner.ndim == 3 else owner[..., None].expand(-1, -1, vectors.shape[1])
    positive = owner.flatten(1).any(dim=1)
    if not bool(positive.any()):  # a batch without positives moves nothing
        return (embedding.sum() + vectors.sum()) * 0.0
    K, M, D = vectors.shape
    scores = embedding[positive] @ vectors.reshape(K * M, D).T / temperature
    mine = owner[positive].flatten(1)
    inside = torch.logsumexp(scores.masked_fill(~mine, float("-inf")), dim=1)
    return (torch.logsumexp(scores, dim=1) - inside).mean()


def separation_loss(vectors: Tensor, margin: float = 0.3) -> Tensor:
    """Mean excess of the similarity between prototypes of one concept over ``margin``: keeps them apart."""
    M = vectors.shape[1]
    if M < 2:
        return vectors.sum() * 0.0
    similarity = vectors @ vectors.transpose(1, 2)
    others = ~torch.eye(M, dtype=torch.bool, device=vectors.device)
    return F.relu(similarity[:, others] - margin).mean()


def background_loss(embedding: Tensor, owner: Tensor, vectors: Tensor, limit: float = 0.0) -> Tensor:
    """Mean excess over ``limit`` of the best cosine of patches that show no concept; 0 where there are none.

    Without it a patch of bare background may be the nearest to a prototype, since the contrast compares concepts with
    one another only (the separation cost of Chen et al., NeurIPS 2019, in cosines).

    Args:
        embedding: Unit vectors ``(N, D)``.
        owner: True where a patch shows a concept, ``(N, K)``.
        vectors: Unit prototypes ``(K, M, D)``.
        limit: Cosine that background may have.
    """
    bare = ~owner.any(dim=1)
    if not bool(bare.any()):
        return (embedding.sum() + vectors.sum()) * 0.0
    best = (embedding[bare] @ vectors.flatten(0, 1).T).amax(dim=1)
    return F.relu(best - limit).mean()


def absence_loss(similarity: Tensor, labels: Tensor, limit: float = 0.0) -> Tensor:
    """Mean excess over ``limit`` of an image's best cosine with the prototypes of a concept that it does not have.

    The separation cost of Chen et al. (NeurIPS 2019, equation 3), concept by concept: what :func:`background_loss` is
    where boxes say which patches are bare. 0 where every concept is present or not known.

    Args:
        similarity: Best cosine over the image, ``(B, K, M)``.
        labels: ``(B, K)`` with NaN for "not known".
        limit: Cosine that such an image may have.
    """
    absent = labels == 0
    if not bool(absent.any()):
        return similarity.sum() * 0.0
    return F.relu(similarity.amax(dim=2)[absent] - limit).mean()
