"""Interventions: set concepts to what a reader says they are, and see whether the task follows (Koh et al., ICML 2020).

The task reads cosines with prototypes, so a concept is set by giving all its prototypes the cosine that they have in
training images with the concept, or in those without it, on average.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from traindx.errors import InputError


@dataclass(frozen=True)
class Levels:
    """What the task is shown of a concept that is absent and of one that is present.

    Attributes:
        absent: Mean activation over training images without the concept, ``(K, M)``.
        present: Mean over those with it.
    """

    absent: Tensor
    present: Tensor


def levels(activation: Tensor, labels: Tensor) -> Levels:
    """Levels of each concept from training images.

    Args:
        activation: What the task reads of each concept, ``(N, K, M)``: best cosines, or a logit with ``M`` of 1.
        labels: 1, 0 or NaN, ``(N, K)``.

    Raises:
        InputError: A concept is not seen both ways.
    """
    for k in range(labels.shape[1]):
        if not bool((labels[:, k] == 0).any() and (labels[:, k] == 1).any()):
            raise InputError(f"concept {k} is not both present and absent in training", expected="images of both kinds")

    def mean(value: int) -> Tensor:
        chosen = (labels == value).to(activation)
        return torch.einsum("nk,nkm->km", chosen, activation) / chosen.sum(dim=0)[:, None]

    return Levels(mean(0), mean(1))


def intervened(activation: Tensor, labels: Tensor, concepts: Sequence[int], at: Levels) -> Tensor:
    """Activations with some concepts set to their labels; where a label is not known, nothing is set.

    Args:
        activation: ``(N, K, M)``; left as it is.
        labels: What the reader says, ``(N, K)``.
        concepts: Which concepts are set.
        at: Levels of training images.
    """
    out = activation.clone()
    for k in concepts:
        out[labels[:, k] == 1, k] = at.present[k].to(out)
        out[labels[:, k] == 0, k] = at.absent[k].to(out)
    return out


def curve(task: Callable[[Tensor], Tensor], activation: Tensor, labels: Tensor, at: Levels) -> list[NDArray[np.int64]]:
    """Predictions by number of concepts that are set: for each number, those of every choice of that many concepts.

    Args:
        task: Flat activations ``(N, K * M)`` to logits ``(N, T)``.
        activation: ``(N, K, M)``.
        labels: What the reader says ``(N, K)``.
        at: Levels of training images.

    Returns:
        For 0 to K concepts: classes ``(choices, N)``.
    """
    K = labels.shape[1]
    return [
        np.stack(
            [
                task(intervened(activation, labels, chosen, at).flatten(1)).argmax(dim=1).cpu().numpy()
                for chosen in combinations(range(K), count)
            ]
        )
        for count in range(K + 1)
    ]
