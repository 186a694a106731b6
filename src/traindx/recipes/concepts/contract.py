"""What a checkpoint promises: network, concepts, classes, split, thresholds and the patches of its prototypes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from traindx.finding import Frozen
from traindx.recipes.concepts.prototypes import Nearest
from traindx.recipes.concepts.settings import Settings
from traindx.recipes.kit import contract as kit
from traindx.recipes.kit.contract import CONTRACT_KEY
from traindx.recipes.kit.split import Split

FORMAT = 1
"""Raised when weights of an older version mean something else."""


class Learnt(Frozen):
    """What was found out after training, on training and validation patients only.

    Attributes:
        thresholds: Threshold of each concept's probability, from validation.
        nearest: The training patch of each prototype.
        split: Who was trained on.
        trained: Stages that were trained.
    """

    thresholds: tuple[float, ...] = ()
    nearest: tuple[Nearest, ...] = ()
    split: Split | None = None
    trained: tuple[str, ...] = Field(default=())


def contract_of(settings: Settings, concepts: Sequence[str], classes: Sequence[str]) -> dict[str, Any]:
    """The contract of a module, of plain values only."""
    return {
        **kit.header("concepts", FORMAT),
        "settings": settings.model_dump(mode="json"),
        "concepts": list(concepts),
        "classes": list(classes),
    }


def read(path: Path) -> dict[str, Any]:
    """Read a model file that carries a contract of this recipe.

    Raises:
        InputError: It is missing, damaged, of another kind, or of a run that was not finished.
    """
    return kit.read(path, "concepts", FORMAT, needs=("learnt",))


def gallery_of(path: Path) -> dict[str, NDArray[np.float32]]:
    """Training images that prototypes point to, by name, ``(S, S)`` or ``(S, S, 3)`` in [0, 1]."""
    return {name: image.numpy().astype(np.float32) / 255 for name, image in read(path).get("gallery", {}).items()}


def save_model(
    path: Path,
    contract: Mapping[str, Any],
    state: Mapping[str, Tensor],
    learnt: Learnt,
    gallery: Mapping[str, Tensor] | None = None,
) -> None:
    """Write a model file that :func:`read` reads.

    Args:
        path: Where to.
        contract: The contract of the module.
        state: Its weights.
        learnt: What was found out.
        gallery: Training images that prototypes point to, ``(S, S)`` or ``(S, S, 3)`` in [0, 1]; stored in 8 bits.
    """
    kit.store(
        path,
        {
            CONTRACT_KEY: dict(contract),
            "state_dict": {name: value.cpu() for name, value in state.items()},
            "learnt": learnt.model_dump(mode="json"),
            "gallery": {name: (255 * image).round().to(torch.uint8) for name, image in (gallery or {}).items()},
        },
    )
