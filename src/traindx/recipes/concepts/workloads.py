"""What the first stage of a concept training takes, for ``--plan``; the later ones train less of the same network."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from traindx.recipes.concepts.data import Batch
from traindx.recipes.concepts.module import ConceptsModule
from traindx.recipes.concepts.settings import settings_of
from traindx.recipes.kit.cost import precision
from traindx.recipes.kit.footprint import Workload

CONCEPTS, CLASSES, IMAGES = 14, 2, 10_000
"""Concepts and classes of the network, and images of the epoch that is predicted; the data say how many there are."""


def workloads(values: Mapping[str, Any]) -> list[Workload]:
    """One workload, whose epoch is one of :data:`IMAGES` images.

    Args:
        values: Settings of a preset, see :func:`traindx.recipes.kit.cost.settings`.
    """
    settings = settings_of({**values["data"], **values["model"]})
    architecture, count = settings.architecture, settings.batch_size
    shape = (count, architecture.channels, architecture.size, architecture.size)

    def module() -> nn.Module:
        made = ConceptsModule(
            settings, tuple(f"concept {k}" for k in range(CONCEPTS)), ("a", "b")[:CLASSES], torch.ones(CONCEPTS)
        )
        made.enter("concepts")
        return made

    def loss(module: nn.Module) -> Tensor:
        assert isinstance(module, ConceptsModule)
        batch = Batch(
            image=torch.randn(shape),
            label=torch.ones(count, CONCEPTS),
            boxes=[np.zeros((0, 5), np.float32)] * count,
            masks=torch.rand(count, CONCEPTS, *architecture.map_size),
            task=torch.zeros(count, dtype=torch.int64),
            index=torch.arange(count),
        )
        return torch.stack(list(module.loss_terms(batch).values())).sum()

    return [
        Workload(
            "concepts",
            " x ".join(map(str, shape)),
            module,
            loss,
            lambda parameters: torch.optim.AdamW(parameters, weight_decay=settings.weight_decay),
            IMAGES // count,
            precision(values),
        )
    ]
