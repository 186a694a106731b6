"""What a checkpoint promises: network, concepts, classes, split, thresholds and the patches of its prototypes."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor

from traindx.errors import InputError
from traindx.finding import Frozen
from traindx.recipes.concepts.prototypes import Nearest
from traindx.recipes.concepts.radiographs import Split
from traindx.recipes.concepts.settings import Settings
from traindx.recipes.kit.checkpoint import CONTRACT_KEY, load

if TYPE_CHECKING:
    from traindx.recipes.concepts.module import ConceptsModule


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


def contract_of(module: ConceptsModule) -> dict[str, Any]:
    """The contract of a module, of plain values only."""
    from traindx.version import __version__

    return {
        "recipe": "concepts",
        "traindx": __version__,
        "settings": module.settings.model_dump(mode="json"),
        "concepts": list(module.concepts),
        "classes": list(module.classes),
    }


def check_contract(checkpoint: dict[str, Any], module: ConceptsModule) -> None:
    """Compare a checkpoint with the module it is loaded into.

    Raises:
        InputError: It has no contract, or another one; every value that differs is named.
    """
    saved = checkpoint.get(CONTRACT_KEY)
    if not isinstance(saved, dict) or saved.get("recipe") != "concepts":
        raise InputError(
            "the checkpoint has no contract of the concepts recipe",
            expected="a checkpoint written by `traindx train concepts`",
        )
    wanted = contract_of(module)
    pairs = {
        **{name: (saved[name], wanted[name]) for name in ("concepts", "classes")},
        **{f"settings.{name}": (saved["settings"].get(name), value) for name, value in wanted["settings"].items()},
    }
    differences = [
        f"{name}: checkpoint {theirs!r}, this run {mine!r}" for name, (theirs, mine) in pairs.items() if theirs != mine
    ]
    if differences:
        raise InputError(
            "the checkpoint was made under another contract: " + "; ".join(differences),
            expected="the same data, network and settings",
            do="resume with the same options, or train anew in another folder",
        )


def module_from(path: Path) -> tuple[ConceptsModule, Learnt]:
    """The module of a model file, in evaluation mode, and what was found out about it.

    Raises:
        InputError: The file cannot be used.
    """
    from traindx.recipes.concepts.module import ConceptsModule

    stored = load(path, do="train one: traindx train concepts")
    contract = stored.get(CONTRACT_KEY)
    if not isinstance(contract, dict) or contract.get("recipe") != "concepts" or "learnt" not in stored:
        raise InputError(f"{path} is no model of this recipe", expected="model.ckpt of `traindx train concepts`")
    settings = Settings.model_validate(contract["settings"])
    concepts, classes = tuple(contract["concepts"]), tuple(contract["classes"])
    module = ConceptsModule(settings, concepts, classes, torch.ones(len(concepts)))
    module.load_state_dict(stored["state_dict"])
    return module.eval(), Learnt.model_validate(stored["learnt"])


def gallery_of(path: Path) -> dict[str, NDArray[np.float32]]:
    """Training images that prototypes point to, by name, ``(S, S)`` in [0, 1]."""
    stored: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
    return {name: image.numpy().astype(np.float32) / 255 for name, image in stored.get("gallery", {}).items()}


def save_model(path: Path, module: ConceptsModule, learnt: Learnt, gallery: Mapping[str, Tensor] | None = None) -> None:
    """Write a model file that :func:`module_from` reads.

    Args:
        path: Where to.
        module: The model.
        learnt: What was found out.
        gallery: Training images that prototypes point to, ``(S, S)`` in [0, 1]; stored in 8 bits.
    """
    torch.save(
        {
            CONTRACT_KEY: contract_of(module),
            "state_dict": {name: value.cpu() for name, value in module.state_dict().items()},
            "learnt": learnt.model_dump(mode="json"),
            "gallery": {name: (255 * image).round().to(torch.uint8) for name, image in (gallery or {}).items()},
        },
        path,
    )
