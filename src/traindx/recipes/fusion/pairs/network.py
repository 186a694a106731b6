"""The network that fuses pairs: the recipe's own U-Net in one pass, without noise, and its checkpoints."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from traindx.errors import InputError
from traindx.recipes.fusion.baselines import Fusion
from traindx.recipes.fusion.model import Denoiser
from traindx.recipes.fusion.normalisation import to_network
from traindx.recipes.fusion.pairs.objective import DESCENT, descend
from traindx.recipes.kit import contract as kit
from traindx.recipes.kit.contract import CONTRACT_KEY

RECIPE = "fusion"
IMAGES = "pairs"
FORMAT = 2
"""Of contracts of pairs; those of CT and MR in HU are of format 1, so neither is taken for the other."""


class PairFuser(nn.Module):
    """Two images on [0, 1] to a fused one: per pixel a weight and a residual, see `recipes.fusion.model`.

    Args:
        channels: Channels at the finest level.
        levels: Levels of the U-Net.
    """

    def __init__(self, channels: int = 16, levels: int = 2) -> None:
        super().__init__()
        self.multiple = 2**levels
        self.estimator = Denoiser(2, channels=channels, levels=levels)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Images ``(B, 1, H, W)`` of any size to fused ones; values may leave [0, 1] a little, and training says so."""
        height, width = a.shape[-2:]
        pad = (0, -width % self.multiple, 0, -height % self.multiple)
        first, second = (to_network(F.pad(image, pad, mode="replicate")) for image in (a, b))
        time = torch.zeros(a.shape[0], dtype=a.dtype, device=a.device)
        start = torch.maximum(first, second)  # what the denoiser sees as its noisy image
        fused = (self.estimator.estimate(start, time, first, second) + 1) / 2
        return fused[..., :height, :width]


def contract_of(options: Mapping[str, Any]) -> dict[str, Any]:
    """The contract of a run on pairs, of plain values only."""
    return {**kit.header(RECIPE, FORMAT), "images": IMAGES, "range": [0.0, 1.0], "network": dict(options)}


def read(path: Path) -> dict[str, Any]:
    """Read a checkpoint of a run on pairs.

    Raises:
        InputError: It is missing, damaged, or of another kind.
    """
    if not is_of_pairs(path):
        raise InputError(f"{path} was not trained on pairs of plain images", expected="a run with --source pairs")
    return kit.read(path, RECIPE, FORMAT)


def is_of_pairs(path: Path) -> bool:
    """Whether a checkpoint fuses pairs of plain images.

    Raises:
        InputError: It is missing or damaged.
    """
    contract = kit.load(path).get(CONTRACT_KEY)
    return isinstance(contract, Mapping) and contract.get("images") == IMAGES


def fuser(checkpoint: Mapping[str, Any], device: str = "cpu", refine: int = 0) -> Fusion:
    """The trained network as a method: two images on [0, 1], shape ``(B, 1, H, W)``, to a fused one on [0, 1].

    Args:
        checkpoint: Of a run on pairs.
        device: Where it runs.
        refine: Steps of descent on the objective of the pair itself, from what the network gives.
    """
    network = PairFuser(**checkpoint[CONTRACT_KEY]["network"])
    network.load_state_dict(kit.weights(checkpoint, "network."))
    network.eval().to(device)

    @torch.no_grad()
    def fuse(a: Tensor, b: Tensor) -> Tensor:
        fused: Tensor = network(a.to(device), b.to(device)).clamp(0, 1)
        return fused

    refined_fuse = refined(fuse, refine, device)
    return lambda a, b: refined_fuse(a, b).cpu()


def refined(fuse: Fusion, steps: int, device: str = "cpu") -> Fusion:
    """A method, and so many steps of descent on the objective of each pair itself, from what the method gives."""
    if not steps:
        return fuse
    return lambda a, b: descend(fuse(a, b), a.to(device), b.to(device), DESCENT, steps)
