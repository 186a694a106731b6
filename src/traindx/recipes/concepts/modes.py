"""Modes of a concept: the few appearances that it has in the features of the encoder, one for each prototype.

Prototypes collapse where a patch may be near *any* prototype of its concept: the projection then maps all patches of a
concept to one point, the separation of the vectors notwithstanding, and the step that puts each prototype on a
training patch puts all of them there. Modes are found in features that the stage of prototypes does not train, so a
patch has its prototype before the projection is learnt and nothing is won by giving up the difference.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from traindx.recipes.concepts.data import Batch
from traindx.recipes.concepts.model import ConceptNetwork
from traindx.recipes.concepts.prototypes import flat_embedding, patches

ROUNDS = 20
"""Rounds of Lloyd's algorithm; the assignments of some hundred patches stand still after about ten."""

MOST_PATCHES = 600
"""Patches of a concept that are clustered: the exact balanced assignment is cubic in their number."""


@torch.no_grad()
def find_modes(network: ConceptNetwork, batches: Iterable[Batch], *, seed: int = 0) -> Tensor:
    """Centres ``(K, M, C)`` of the modes of each concept, among unit features of its training patches.

    Args:
        network: The network; its encoder is read in evaluation mode.
        batches: Training images without augmentation, with the masks of their patches.
        seed: Seed of the first centres.
    """
    mode = network.training
    network.eval()
    features, owner = [], []
    for batch in batches:
        features.append(flat_embedding(F.normalize(network.maps.encoder(batch["image"]), dim=1)).cpu())
        owner.append(patches(batch["masks"]).cpu())
    network.train(mode)
    everything, shown = torch.cat(features), torch.cat(owner)
    generator = np.random.default_rng(seed)
    count = network.architecture.prototypes
    centres = [balanced_clusters(everything[shown[:, k]].numpy(), count, generator)[0] for k in range(shown.shape[1])]
    return torch.from_numpy(np.stack(centres))


def balanced_clusters(
    points: NDArray[np.float32], count: int, generator: np.random.Generator
) -> tuple[NDArray[np.float32], NDArray[np.intp]]:
    """Clusters of nearly equal size: k-means in which every centre has as many places as every other one.

    Balanced, so that no prototype is left without a patch. The assignment of each round is the exact one (Bradley et
    al., MSR-TR-2000-65, solved as an assignment problem).

    Args:
        points: ``(N, C)``; more than :data:`MOST_PATCHES` are thinned out at random.
        count: Number of clusters M.
        generator: Draws.

    Returns:
        Centres ``(M, C)`` and the cluster of each point that was kept. Without points, centres are 0.
    """
    from scipy.optimize import linear_sum_assignment

    if not len(points):
        return np.zeros((count, points.shape[1]), np.float32), np.zeros(0, np.intp)
    if len(points) > MOST_PATCHES:
        points = points[generator.choice(len(points), MOST_PATCHES, replace=False)]
    centres = _spread(points, count, generator)
    places = -(-len(points) // count)
    cluster = np.full(len(points), -1, np.intp)
    for _ in range(ROUNDS):
        cost = ((points[:, None] - centres[None]) ** 2).sum(axis=2)
        rows, columns = linear_sum_assignment(np.repeat(cost, places, axis=1))
        now = np.empty(len(points), np.intp)
        now[rows] = columns // places
        if (now == cluster).all():
            break
        cluster = now
        for m in np.unique(cluster):
            centres[m] = points[cluster == m].mean(axis=0)
    return centres.astype(np.float32), cluster


def _spread(points: NDArray[np.float32], count: int, generator: np.random.Generator) -> NDArray[np.float32]:
    """First centres that lie far apart (k-means++, Arthur and Vassilvitskii, 2007)."""
    chosen = [int(generator.integers(len(points)))]
    for _ in range(count - 1):
        far = ((points[:, None] - points[chosen][None]) ** 2).sum(axis=2).min(axis=1)
        total = float(far.sum())
        chosen.append(int(generator.choice(len(points), p=far / total if total > 0 else None)))
    return points[chosen].copy()


def by_mode(features: Tensor, owner: Tensor, modes: Tensor) -> Tensor:
    """Which mode of each of its concepts a patch is of, ``(N, K, M)``.

    Args:
        features: Features of patches ``(N, C)``.
        owner: True where a patch shows a concept ``(N, K)``.
        modes: Centres ``(K, M, C)``.
    """
    distance = torch.cdist(F.normalize(features, dim=1)[None], modes.to(features))  # (K, N, M)
    nearest = F.one_hot(distance.argmin(dim=2), modes.shape[1]).bool().movedim(0, 1)
    return nearest & owner[..., None]
