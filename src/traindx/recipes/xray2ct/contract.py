"""What a checkpoint promises: everything that must be the same where its weights are used again."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traindx.recipes.kit import contract as kit
from traindx.recipes.kit.contract import CONTRACT_KEY
from traindx.recipes.xray2ct.geometry import ConeGeometry
from traindx.recipes.xray2ct.hounsfield import HounsfieldWindow
from traindx.recipes.xray2ct.model import Denoiser
from traindx.recipes.xray2ct.radiograph import DISPLAY_CENTRE, DISPLAY_WIDTH, MU_WATER_PER_MM

if TYPE_CHECKING:
    from traindx.recipes.xray2ct.system import System

FORMAT = 1
"""Raised when weights of an older version mean something else."""


def contract_of(system: System) -> dict[str, Any]:
    """The contract of a system, of plain values only."""
    return {
        **kit.header("xray2ct", FORMAT),
        **system.process.contract(),
        **describe_data(system.window, system.data.geometry),
        "network": dict(system.network_options),
    }


def read(path: Path) -> dict[str, Any]:
    """Read a checkpoint that carries a contract of this recipe.

    Raises:
        InputError: It is missing, damaged, or of another kind.
    """
    return kit.read(path, "xray2ct", FORMAT)


def window_from(contract: dict[str, Any]) -> HounsfieldWindow:
    """The Hounsfield window of a contract."""
    low, high = contract["normalisation"]["window_hu"]
    return HounsfieldWindow(low, high)


def describe_data(window: HounsfieldWindow, geometry: ConeGeometry) -> dict[str, Any]:
    """How volumes and radiographs become network values, in plain values."""
    return {
        "normalisation": {
            "window_hu": [window.low, window.high],
            "radiograph_centre": DISPLAY_CENTRE,
            "radiograph_width": DISPLAY_WIDTH,
            "mu_water_per_mm": MU_WATER_PER_MM,
        },
        "geometry": describe_geometry(geometry),
    }


def describe_geometry(geometry: ConeGeometry) -> dict[str, Any]:
    """A geometry in plain values."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in asdict(geometry).items()}


def geometry_from(contract: dict[str, Any]) -> ConeGeometry:
    """The geometry of a contract."""
    fields: dict[str, Any] = {
        key: tuple(value) if isinstance(value, list) else value for key, value in contract["geometry"].items()
    }
    return ConeGeometry(**fields)


def network_from(checkpoint: dict[str, Any]) -> Denoiser:
    """The network of a checkpoint with its weights, in evaluation mode."""
    contract = checkpoint[CONTRACT_KEY]
    network = Denoiser(geometry_from(contract), prediction=contract["prediction"], **contract["network"])
    network.load_state_dict(kit.weights(checkpoint, "network."))
    return network.eval()
