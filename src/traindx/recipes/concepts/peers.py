"""What the recipe is compared with on its own encoder: a plain classifier and a joint concept bottleneck."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from traindx.recipes.concepts.data import Batch, Dataset, EvalBatches, TrainBatches
from traindx.recipes.concepts.loss import class_weights, concept_loss, pooled, positive_weights
from traindx.recipes.concepts.model import Architecture, ConceptMaps
from traindx.recipes.concepts.settings import Settings
from traindx.recipes.kit.schedule import stepped, warmup_cosine

Kind = Literal["plain", "bottleneck"]
KINDS: tuple[Kind, ...] = ("plain", "bottleneck")


class Peer(nn.Module):
    """The recipe's encoder with a linear layer on its mean features, or on concept probabilities alone.

    Args:
        kind: ``plain``: classes and no concepts. ``bottleneck``: the joint concept bottleneck of Koh et al. (ICML
            2020): classes from concept probabilities, trained together with them.
        architecture: Sizes.
        concepts: Number of concepts K.
        classes: Number of classes T.
    """

    def __init__(self, kind: Kind, architecture: Architecture, concepts: int, classes: int) -> None:
        super().__init__()
        self.kind, self.architecture = kind, architecture
        self.maps = ConceptMaps(architecture, concepts)
        self.task = nn.Linear(self.maps.encoder.channels if kind == "plain" else concepts, classes)

    def forward(self, image: Tensor) -> dict[str, Tensor]:
        """Task logits ``(B, T)``; a bottleneck also ``concepts``, logits ``(B, K)``."""
        features = self.maps.encoder(image)
        if self.kind == "plain":
            return {"task": self.task(features.mean(dim=(2, 3)))}
        logits = pooled(self.maps.head(features), self.architecture.pooling)
        return {"task": self.task(logits.sigmoid()), "concepts": logits}


@dataclass
class Trained:
    """A peer in evaluation mode, and the processor seconds that it took."""

    network: Peer
    seconds: float


def train_peer(kind: Kind, settings: Settings, data: Dataset, *, epochs: int) -> Trained:
    """Train a peer as the recipe is trained: same batches, augmentation, optimiser, schedule and rates of the parts.

    The joint loss is the task's plus the sum over concepts of their cross-entropies (Koh et al., section 3). What reads
    concepts has the rate of the recipe's task head, what reads features that of its concept head.

    Args:
        kind: Which peer.
        settings: Settings of the recipe.
        data: Training images.
        epochs: Passes.
    """
    concepts, classes = len(data.data.concepts), len(data.data.classes)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(settings.seed)
        network = Peer(kind, settings.architecture, concepts, classes)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    rates = settings.stages["concepts"].rates
    task_rate = rates["head"] if kind == "plain" else settings.stages["task"].rates["task"]
    groups = [
        {"params": list(network.maps.encoder.parameters()), "lr": rates["encoder"]},
        {"params": list(network.maps.head.parameters()), "lr": rates["head"]},
        {"params": list(network.task.parameters()), "lr": task_rate},
    ]
    optimizer = torch.optim.AdamW(groups, weight_decay=settings.weight_decay)
    batches = TrainBatches(data, settings.batch_size, settings.augmentation, seed=settings.seed)
    total = epochs * len(batches)
    schedule = stepped(optimizer, lambda step: warmup_cosine(step, total, min(settings.warmup, total // 5), 0.01))
    scheduler = schedule["lr_scheduler"]["scheduler"]
    positive = positive_weights(data.labels, settings.pos_weight_cap)
    weights = class_weights(data.task, classes) if settings.balance_task else torch.ones(classes)
    begun = time.process_time()
    for epoch in range(epochs):
        batches.set_epoch(epoch)
        network.train()
        for batch in batches:
            loss = peer_loss(network(batch["image"]), batch, weights, positive)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            torch.nn.utils.clip_grad_norm_(network.parameters(), settings.clip)
            optimizer.step()
            scheduler.step()
    return Trained(network.eval(), time.process_time() - begun)


def peer_loss(said: dict[str, Tensor], batch: Batch, weights: Tensor, positive: Tensor) -> Tensor:
    """Cross-entropy of the classes, and that of each concept where there are any."""
    loss = F.cross_entropy(said["task"], batch["task"], weight=weights, ignore_index=-1)
    if "concepts" in said:
        loss = loss + len(positive) * concept_loss(said["concepts"], batch["label"], positive)
    return loss


@torch.no_grad()
def outputs(network: Callable[[Tensor], dict[str, Tensor]], data: Dataset, names: Sequence[str]) -> dict[str, Tensor]:
    """Some outputs of a network in evaluation mode, for a whole set."""
    said = [network(batch["image"]) for batch in EvalBatches(data)]
    return {name: torch.cat([one[name] for one in said]) for name in names}
