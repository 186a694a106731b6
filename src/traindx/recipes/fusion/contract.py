"""What a checkpoint promises: everything that must be the same where its weights are used again."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from traindx.errors import InputError
from traindx.recipes.fusion.lesion import LesionHead, frozen
from traindx.recipes.fusion.model import Denoiser
from traindx.recipes.fusion.normalisation import DISPLAY_HU, MR_PERCENTILE, MR_WHITE
from traindx.recipes.fusion.pairs.network import is_of_pairs
from traindx.recipes.fusion.roi import RoiWeights
from traindx.recipes.fusion.target import BODY_HU, PARTIAL_VOLUME_HU
from traindx.recipes.kit import contract as kit
from traindx.recipes.kit.contract import CONTRACT_KEY

if TYPE_CHECKING:
    from traindx.recipes.fusion.system import System

FORMAT = 1
"""Raised when weights of an older version mean something else."""


def contract_of(system: System) -> dict[str, Any]:
    """The contract of a system, of plain values only."""
    return {
        **kit.header("fusion", FORMAT),
        "normalisation": {
            "preset": system.data.train.seen_as.name,
            "display_hu": list(DISPLAY_HU),
            "mr_white": MR_WHITE,
            "mr_percentile": MR_PERCENTILE,
        },
        "target": {"partial_volume_hu": list(PARTIAL_VOLUME_HU), "body_hu": BODY_HU},
        **system.process.contract(),
        "dims": system.data.dims,
        "network": dict(system.network_options),
        **({"one_pass": True} if system.one_pass else {}),
    }


def read(path: Path) -> dict[str, Any]:
    """Read a checkpoint that carries a contract of this recipe.

    Raises:
        InputError: It is missing, damaged, or of another kind.
    """
    if is_of_pairs(path):
        raise InputError(
            f"{path} fuses pairs of plain images",
            expected="a checkpoint that was trained on CT in HU and MR",
            do="use --pair, or --source pairs",
        )
    return kit.read(path, "fusion", FORMAT)


def network_from(checkpoint: dict[str, Any]) -> Denoiser:
    """The network of a checkpoint with its weights, in evaluation mode."""
    contract = checkpoint[CONTRACT_KEY]
    network = Denoiser(contract["dims"], prediction=contract["prediction"], **contract["network"])
    network.load_state_dict(kit.weights(checkpoint, "network."))
    return network.eval()


def head_from(checkpoint: dict[str, Any]) -> LesionHead | None:
    """The frozen lesion head of a checkpoint, if it was trained with one."""
    weights = kit.weights(checkpoint, "head.")
    if not weights:
        return None
    head = LesionHead(checkpoint[CONTRACT_KEY]["dims"], **checkpoint["head_options"])
    head.load_state_dict(weights)
    return frozen(head)


def weights_from(checkpoint: dict[str, Any]) -> RoiWeights:
    """The ROI weights that a checkpoint was trained with."""
    return RoiWeights(**checkpoint["roi_weights"])
