"""The recipe as a case: small enough to be trained many times over in trials, and in every part the recipe's own code.

The case trains the first stage, the concept maps; prediction and target are maps, so that one figure judges whether a
finding is seen and the other where. Prototypes are learnt for a moment in a check of their own.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cache, cached_property
from itertools import zip_longest
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from traindx import Authoring, Case, DataPath, DataRange, Metric, PrototypeLearning, Regions, TrainingState
from traindx.recipes.concepts.best import BestScores
from traindx.recipes.concepts.boxes import Boxes, masks, moved
from traindx.recipes.concepts.data import Batch, Dataset
from traindx.recipes.concepts.gradient_monitor import flags
from traindx.recipes.concepts.loss import (
    box_loss,
    concept_loss,
    pooled,
    positive_weights,
    prototype_loss,
    separation_loss,
)
from traindx.recipes.concepts.metrics import auroc, mean_over
from traindx.recipes.concepts.model import Architecture, ConceptMaps, Prototypes, parameter_groups
from traindx.recipes.concepts.pipeline import IDENTITY, Augmentation, apply, drawn, normalise, to_network
from traindx.recipes.concepts.pretrained import load_into
from traindx.recipes.concepts.prototypes import flat_embedding, patches, similarities, used
from traindx.recipes.concepts.radiographs import Radiographs, split_patients
from traindx.recipes.concepts.sources import load

STAGES = ("concepts", "prototypes", "task")
PROTOTYPE_STEPS = 200


@dataclass(frozen=True)
class Setup:
    """What a case is made of; faults exchange parts of it.

    Attributes:
        architecture: Sizes of the network.
        augmentation: Of training images.
        rates: Learning rate by part.
        weights: Weight of the positives of each concept.
        margin: Margin of the box term.
        box_weight: Its weight; 0 leaves it out.
        temperature: Temperature of the prototypes' contrast.
        separation: Weight of the term that keeps prototypes apart.
        train: Training images.
        val: Validation images.
        whole: All radiographs, for the split.
    """

    architecture: Architecture
    augmentation: Augmentation
    rates: Mapping[str, float]
    weights: Tensor
    margin: float
    box_weight: float
    temperature: float
    separation: float
    train: Dataset
    val: Dataset
    whole: Radiographs

    @cached_property
    def concepts(self) -> int:
        """Number of concepts."""
        return len(self.whole.concepts)


def make_case(
    *,
    data: str = "phantom",
    images: int = 240,
    batches: int = 30,
    batch_size: int = 16,
    steps: int = 120,
    box_weight: float = 1.0,
    seed: int = 0,
) -> Case:
    """The recipe as a case.

    Args:
        data: ``phantom``, ``tbx11k`` or ``covid``.
        images: Number of phantoms.
        batches: Training batches, drawn once.
        batch_size: Images a batch.
        steps: Optimiser steps of a trial.
        box_weight: Weight of the box term.
        seed: Seed of phantoms, split and batches.

    Raises:
        InputError: The source does not exist.
    """
    whole = load(data, images=images, seed=seed)
    small = data == "phantom"
    architecture = Architecture(
        size=64 if small else 96,
        widths=(8, 16, 32),
        strides=(2, 2, 1) if small else (2, 2, 2),
        prototypes=4,
        embedding=24,
    )
    split = split_patients(whole, val=0.35, test=0.0, seed=seed)
    train, val = (
        Dataset(whole.only(part), size=architecture.size, map_size=architecture.map_size)
        for part in (split.train, split.val)
    )
    setup = Setup(
        architecture=architecture,
        augmentation=Augmentation(),
        rates={"encoder": 4e-3, "head": 8e-3},
        weights=positive_weights(train.labels),
        margin=2.0,
        box_weight=box_weight,
        temperature=0.3,
        separation=0.5,
        train=train,
        val=val,
        whole=whole,
    )
    orders = np.random.default_rng(seed)
    drawn_once = [
        train.batch(orders.choice(len(train), batch_size, replace=False).tolist(), setup.augmentation, seed, number)
        for number in range(batches)
    ]
    order = mixed(val.data.labels)
    half = math.ceil(len(order) / 2)
    return Case(
        name=f"concepts ({whole.name})",
        model=lambda: ConceptMaps(architecture, setup.concepts),
        train=drawn_once,
        val=[val.batch(order[:half]), val.batch(order[half:])],
        loss=recipe_loss(setup),
        predict=predict,
        target=lambda batch: (batch["masks"] > 0).float(),
        metrics={
            "pointing": Metric(pointing_of_maps, negligible=0.02, best=1.0),
            "auroc": Metric(auroc_of_maps, negligible=0.01, best=1.0),
        },
        conditions=("image",),
        optimizer=recipe_optimizer(setup),
        steps=steps,
        parts=(
            DataRange(0.0, 1.0),
            Regions(
                boxes=boxes_of,
                drawn=lambda batch: batch["masks"],
                loss=lambda maps, batch: box_loss(maps, batch["masks"], setup.margin),
                term="boxes",
                concepts=whole.concepts,
            ),
            DataPath(apply=recipe_path(setup), raw=raw_images(whole), white=whole.white),
            recipe_prototypes(setup),
            recipe_training_state(setup, seed),
            Authoring(
                treatments={"box-margin": with_margin, "class-weights": with_weights, "union-of-boxes": with_margin},
                extras={"recipe": "concepts", "setup": setup},
            ),
        ),
    )


def mixed(labels: NDArray[np.floating]) -> list[int]:
    """Images in an order in which those of equal labels are far apart: the first few show what there is.

    A score of a handful of images is then defined also where a finding is rare.
    """
    patterns: dict[bytes, list[int]] = {}
    for index, row in enumerate(labels):
        patterns.setdefault(row.tobytes(), []).append(index)
    rounds = zip_longest(*patterns.values())
    return [index for one in rounds for index in one if index is not None]


def setup_of(case: Case) -> Setup:
    """What the case is made of."""
    setup: Setup = case.extras["setup"]
    return setup


def rebuilt(case: Case, **changes: Any) -> Case:
    """The case with parts of its set-up exchanged: loss, optimiser, box term and prototypes are made anew."""
    setup = replace(setup_of(case), **changes)
    return case.replace(
        loss=recipe_loss(setup),
        optimizer=recipe_optimizer(setup),
        regions__loss=lambda maps, batch: box_loss(maps, batch["masks"], setup.margin),
        prototypes=recipe_prototypes(setup),
        extras={**case.extras, "setup": setup},
    )


def with_margin(case: Case) -> Case:
    """The recipe's own box term: a margin, and the union of the boxes of a concept."""
    return rebuilt(case, margin=2.0)


def with_weights(case: Case) -> Case:
    """Positives weighted by negatives over positives, capped."""
    return rebuilt(case, weights=positive_weights(setup_of(case).train.labels))


def recipe_loss(setup: Setup) -> Callable[[nn.Module, Batch], dict[str, Tensor]]:
    """Cross-entropy of the pooled maps, and the box term."""

    def loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        maps = model(batch["image"])
        logits = pooled(maps, setup.architecture.pooling)
        terms = {"concepts": concept_loss(logits, batch["label"], setup.weights.to(maps))}
        if setup.box_weight:
            terms["boxes"] = setup.box_weight * box_loss(maps, batch["masks"], setup.margin)
        return terms

    return loss


def recipe_optimizer(setup: Setup) -> Callable[[Iterable[nn.Parameter]], torch.optim.Optimizer]:
    """AdamW with a rate for each part."""

    def optimizer(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return torch.optim.AdamW(parameter_groups(parameters, dict(setup.rates)), weight_decay=0.01)

    return optimizer


def predict(model: nn.Module, batch: Batch) -> Tensor:
    """Probability maps ``(B, K, h, w)`` in evaluation mode."""
    mode = model.training
    model.eval()
    with torch.no_grad():
        maps: Tensor = model(batch["image"]).sigmoid()
    model.train(mode)
    return maps


def boxes_of(batch: Batch) -> list[Tensor]:
    """The boxes of a batch as tensors ``(n, 5)``."""
    return [torch.from_numpy(one) for one in batch["boxes"]]


def pointing_of_maps(prediction: Tensor, target: Tensor) -> float:
    """Pointing game on maps: share of the (image, concept) pairs with boxes whose hottest cell a box touches.

    Of several equally hot cells (a flat map) the share that is touched. NaN where there is no box.
    """
    there = target.flatten(2).amax(dim=2) > 0
    hot = prediction == prediction.amax(dim=(2, 3), keepdim=True)
    hits = (hot & (target > 0)).sum(dim=(2, 3)).double() / hot.sum(dim=(2, 3))
    return float(hits[there].mean()) if bool(there.any()) else float("nan")


def auroc_of_maps(prediction: Tensor, target: Tensor) -> float:
    """Mean AUROC over concepts of the maps' pooled logits; an image is positive where its target map is."""
    logits = prediction.double().clamp(1e-6, 1 - 1e-6).logit()
    labels = (target.flatten(2).amax(dim=2) > 0).double()
    return mean_over(auroc, pooled(logits).cpu().numpy(), labels.cpu().numpy())


def raw_images(data: Radiographs, count: int = 16) -> Tensor:
    """Some raw images ``(N, 1, H, W)``."""
    return torch.from_numpy(data.images[:count].astype(np.float32))[:, None]


def recipe_path(setup: Setup) -> Callable[[Tensor, Tensor, str], tuple[Tensor, Tensor]]:
    """The path of one image: percentiles, one draw for image and boxes in training, network values."""

    def path(raw: Tensor, boxes: Tensor, split: str) -> tuple[Tensor, Tensor]:
        draw = IDENTITY
        if split == "train":
            draw = drawn(setup.augmentation, int(torch.randint(2**31, ())))
        image, there = apply(normalise(raw), with_concept(boxes), draw, setup.architecture.size)
        return to_network(image), torch.from_numpy(there[:, 1:].copy())

    return path


def with_concept(boxes: Tensor) -> Boxes:
    """Boxes ``(n, 4)`` as boxes of concept 0, ``(n, 5)``."""
    return np.column_stack([np.zeros(len(boxes), np.float32), boxes.numpy().reshape(-1, 4)]).astype(np.float32)


def recipe_prototypes(setup: Setup) -> PrototypeLearning:
    """Prototypes learnt for a moment on the patches of a small encoder, with the recipe's own loss."""

    learn = cache(lambda seed: learn_prototypes(setup, seed))
    return PrototypeLearning(
        fit=lambda seed: learn(seed)[:2],
        used=lambda seed: learn(seed)[2],
        monitored=lambda vectors: similarities(vectors.float()).within,
        temperature=setup.temperature,
    )


def learn_prototypes(setup: Setup, seed: int, steps: int = PROTOTYPE_STEPS) -> tuple[Tensor, Tensor, Tensor]:
    """Prototypes before and after some steps on frozen features, and how many patches each is nearest to.

    Args:
        setup: Data, architecture, temperature.
        seed: Seed of encoder, prototypes and batches.
        steps: Steps of Adam.

    Returns:
        Unit prototypes ``(K, M, D)`` before and after, and counts ``(K, M)``.
    """
    architecture = setup.architecture
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        maps = ConceptMaps(architecture, setup.concepts)
        prototypes = Prototypes(maps.encoder.channels, setup.concepts, architecture.prototypes, architecture.embedding)
        everyone = setup.train.batch(list(range(min(96, len(setup.train)))))
        with torch.no_grad():
            features = maps.encoder(everyone["image"])  # batch statistics: the encoder is fresh
        owner = patches(everyone["masks"])
        flat = features.movedim(1, -1).reshape(-1, features.shape[1])[owner.any(dim=1)]
        owner = owner[owner.any(dim=1)]
        before = prototypes.vectors.detach().clone()
        optimizer = torch.optim.Adam(prototypes.parameters(), lr=5e-3)
        with torch.enable_grad():
            for _ in range(steps):
                rows = torch.randint(len(flat), (256,))
                embedded = F.normalize(prototypes.project(flat[rows].T[None, :, :, None]), dim=1)[0, :, :, 0].T
                loss = prototype_loss(embedded, owner[rows], prototypes.vectors, setup.temperature)
                loss = loss + setup.separation * separation_loss(prototypes.vectors)
                optimizer.zero_grad()
                torch.autograd.backward(loss)
                optimizer.step()
        with torch.no_grad():
            embedded = flat_embedding(prototypes.embed(flat.T[None, :, :, None]))
            after = prototypes.vectors.detach().clone()
    return before, after, used(embedded, owner, after)


def recipe_training_state(setup: Setup, seed: int) -> TrainingState:
    """The recipe's split, best scores, gradient monitor and loading of weights."""

    def split() -> dict[str, tuple[str, ...]]:
        made = split_patients(setup.whole, seed=seed)
        return {"train": made.train, "val": made.val, "test": made.test}

    return TrainingState(
        split=split,
        best=lambda: BestScores().offer,
        stages=STAGES,
        monitor=flags,
        load=lambda model, state: load_into(model.get_submodule("encoder"), state),
        weights=encoder_weights,
    )


def encoder_weights(model: nn.Module) -> dict[str, Tensor]:
    """Weights of an encoder as another framework's wrapper stores them, of other values than the model's."""
    encoder = model.get_submodule("encoder")
    return {
        f"module.encoder.{name}": value + 0.01 * torch.rand_like(value) if value.is_floating_point() else value
        for name, value in encoder.state_dict().items()
    }


def redrawn(case: Case, change: Callable[[Batch, list[Boxes]], Batch]) -> list[Batch]:
    """Training batches of the case, changed with the boxes as they lie in the files."""
    dataset = setup_of(case).train
    return [
        change(batch, [dataset.data.boxes[index] for index in batch["index"].tolist()])
        for batch in case.batches("train")
    ]


__all__ = ["make_case", "masks", "moved", "rebuilt", "redrawn", "setup_of"]
