"""Which patches show a concept, and what prototypes have become: how alike, which are used, which patch each one is."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import torch
from torch import Tensor
from torch.nn import functional as F

from traindx.finding import Frozen
from traindx.recipes.concepts.data import Batch
from traindx.recipes.concepts.model import ConceptNetwork

PATCH_COVERED = 0.5
"""A patch shows a concept if its boxes cover at least half of it."""


class Similarities(Frozen):
    """How alike prototypes are. The mean over all pairs hides a collapse inside concepts: most pairs are between.

    Attributes:
        within: Mean cosine of two prototypes of one concept; NaN with one prototype a concept.
        between: Mean cosine of prototypes of different concepts; NaN with one concept.
        overall: Mean over all pairs.
        used: Prototypes that are the nearest of their concept to at least one of its patches.
        count: Prototypes.
    """

    within: float
    between: float
    overall: float
    used: int
    count: int


def similarities(vectors: Tensor, used: int = 0) -> Similarities:
    """Similarities of unit prototypes ``(K, M, D)``."""
    K, M, _ = vectors.shape
    flat = F.normalize(vectors.reshape(K * M, -1), dim=1)
    cosine = flat @ flat.T
    concept = torch.arange(K).repeat_interleave(M)
    same = concept[:, None] == concept[None, :]
    pair = torch.triu(torch.ones_like(same), diagonal=1).bool()

    def mean(chosen: Tensor) -> float:
        return float(cosine[chosen].mean()) if bool(chosen.any()) else float("nan")

    return Similarities(
        within=mean(pair & same), between=mean(pair & ~same), overall=mean(pair), used=used, count=K * M
    )


def used(embedding: Tensor, owner: Tensor, vectors: Tensor) -> Tensor:
    """How often each prototype is the nearest of its concept to a patch of it, ``(K, M)``.

    Args:
        embedding: Unit vectors of patches ``(N, D)``.
        owner: True where a patch shows a concept ``(N, K)``.
        vectors: Unit prototypes ``(K, M, D)``.
    """
    K, M, _ = vectors.shape
    counts = torch.zeros(K, M, dtype=torch.long)
    for k in range(K):
        mine = embedding[owner[:, k]]
        if len(mine):
            counts[k] = torch.bincount((mine @ vectors[k].T).argmax(dim=1).cpu(), minlength=M)
    return counts


def patches(masks: Tensor) -> Tensor:
    """Which patches show which concept, ``(B * h * w, K)``.

    The cell that a concept's boxes cover most counts as well, so that a box smaller than half a cell has a patch.

    Args:
        masks: Covered shares ``(B, K, h, w)``.
    """
    top = masks.amax(dim=(2, 3), keepdim=True)
    shown = (masks >= PATCH_COVERED) | ((masks == top) & (top > 0))
    return shown.movedim(1, -1).reshape(-1, masks.shape[1])


def hottest(maps: Tensor, labels: Tensor, masks: Tensor, count: int) -> Tensor:
    """Patches of concepts where no box says which: the hottest cells of the map, in images that have the concept.

    Args:
        maps: Logits ``(B, K, h, w)``.
        labels: 1, 0 or NaN, ``(B, K)``.
        masks: Covered shares ``(B, K, h, w)``; where an image has a box of the concept, only cells in it are taken.
        count: Cells of each concept and image.

    Returns:
        1 for the cells that are taken, else 0, ``(B, K, h, w)``.
    """
    boxed = masks.amax(dim=(2, 3), keepdim=True) > 0
    allowed = (labels == 1)[:, :, None, None] & (~boxed | (masks > 0))
    flat = maps.masked_fill(~allowed, float("-inf")).flatten(2)
    top, where = flat.topk(min(count, flat.shape[2]), dim=2)
    return torch.zeros_like(flat).scatter(2, where, torch.isfinite(top).to(flat)).view_as(maps)


@torch.no_grad()
def with_patches(network: ConceptNetwork, batches: Iterable[Batch], count: int) -> Iterator[Batch]:
    """Batches whose masks are the :func:`hottest` cells; as they are for a ``count`` of 0."""
    for batch in batches:
        masks = batch["masks"]
        if count:
            masks = hottest(network.maps(batch["image"]), batch["label"], masks, count)
        yield Batch(**{**batch, "masks": masks})


def flat_embedding(embedding: Tensor) -> Tensor:
    """``(B, D, h, w)`` to ``(B * h * w, D)``, in the order of :func:`patches`."""
    return embedding.movedim(1, -1).reshape(-1, embedding.shape[1])


class Nearest(Frozen):
    """The training patch that is nearest to a prototype ("this looks like that").

    Attributes:
        concept: Index of the concept.
        prototype: Index among its prototypes.
        image: Name of the training image.
        row: Row of the patch on the map.
        column: Column.
        similarity: Its cosine with the prototype, before the prototype was put there.
    """

    concept: int
    prototype: int
    image: str
    row: int
    column: int
    similarity: float


@torch.no_grad()
def push(network: ConceptNetwork, batches: Iterable[Batch], ids: tuple[str, ...]) -> list[Nearest]:
    """Put every prototype on the nearest training patch of its own concept (Chen et al., NeurIPS 2019, step 2).

    A prototype takes a patch that it is the nearest prototype of, where there is one, and prototypes of one concept
    take different images while there are enough. A concept without a patch keeps its
    prototypes, and they are not listed.

    Args:
        network: The network; its prototypes are changed in place.
        batches: Training images without augmentation.
        ids: Their names.
    """
    mode = network.training
    network.eval()
    K, M, _ = network.prototypes.vectors.shape
    seen: list[list[tuple[Tensor, Tensor, int, int, int]]] = [[] for _ in range(K)]
    for batch in batches:
        embedded = network.prototypes.embed(network.maps.encoder(batch["image"]))
        shown = patches(batch["masks"]).reshape(len(embedded), *embedded.shape[2:], K)
        for number, row, column, k in shown.nonzero().tolist():
            vector = embedded[number, :, row, column]
            seen[k].append((vector, network.prototypes.vectors[k] @ vector, int(batch["index"][number]), row, column))
    found: list[Nearest] = []
    for k in range(K):
        taken: set[int] = set()
        for m in range(M):
            # its own patches first, so that two prototypes do not end on the same appearance
            own = [one for one in seen[k] if int(one[1].argmax()) == m]
            free = [one for one in own if one[2] not in taken] or own
            free = free or [one for one in seen[k] if one[2] not in taken] or seen[k]
            if not free:
                continue
            vector, score, index, row, column = max(free, key=lambda one: float(one[1][m]))
            taken.add(index)
            found.append(
                Nearest(concept=k, prototype=m, image=ids[index], row=row, column=column, similarity=float(score[m]))
            )
            network.prototypes.weight[k, m] = vector
    network.train(mode)
    return found
