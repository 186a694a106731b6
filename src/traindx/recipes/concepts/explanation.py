"""Why the network says what it says of one radiograph: concepts, where, and which training patch it looks like."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

from traindx.finding import Frozen
from traindx.recipes.concepts.contract import Learnt
from traindx.recipes.concepts.model import ConceptNetwork
from traindx.recipes.concepts.prototypes import Nearest


class LooksLike(Frozen):
    """A patch of a radiograph that is near to a prototype.

    Attributes:
        concept: Index of the concept.
        prototype: Index among its prototypes.
        row: Row of the patch on the map.
        column: Column.
        similarity: Cosine with the prototype.
        that: The training patch that the prototype stands for; None where prototypes were not trained.
    """

    concept: int
    prototype: int
    row: int
    column: int
    similarity: float
    that: Nearest | None = None


@dataclass
class Explanation:
    """What the network says of one radiograph.

    Attributes:
        probabilities: Of each concept ``(K,)``.
        present: Probability above the concept's threshold ``(K,)``.
        maps: Probability maps ``(K, h, w)``.
        task: Probabilities of the classes ``(T,)``; None where the task was not trained.
        looks: The best prototype of each concept.
    """

    probabilities: Tensor
    present: Tensor
    maps: Tensor
    task: Tensor | None
    looks: list[LooksLike]


@torch.no_grad()
def explain(network: ConceptNetwork, image: Tensor, learnt: Learnt) -> Explanation:
    """Explain one radiograph.

    Args:
        network: In evaluation mode.
        image: Network values ``(1, 1, S, S)``.
        learnt: Thresholds and prototypes' patches.
    """
    said = network(image)
    probabilities = said["concepts"][0].sigmoid().cpu()
    cut = torch.tensor(learnt.thresholds or [0.5] * len(probabilities))
    looks: list[LooksLike] = []
    if "prototypes" in learnt.trained:
        similarity = network.prototypes.similarity(network.maps.encoder(image))[0].cpu()  # (K, M, h, w)
        where = {(one.concept, one.prototype): one for one in learnt.nearest}
        for k in range(len(similarity)):
            best = int(similarity[k].argmax())
            m, row, column = (int(v) for v in torch.unravel_index(torch.tensor(best), similarity[k].shape))
            looks.append(
                LooksLike(
                    concept=k,
                    prototype=m,
                    row=row,
                    column=column,
                    similarity=float(similarity[k, m, row, column]),
                    that=where.get((k, m)),
                )
            )
    task = said["task"][0].softmax(dim=0).cpu() if "task" in learnt.trained else None
    return Explanation(probabilities, probabilities >= cut, said["maps"][0].sigmoid().cpu(), task, looks)
