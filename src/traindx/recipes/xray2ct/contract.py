"""What a checkpoint promises: everything that must be the same where its weights are used again."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from traindx.errors import InputError
from traindx.recipes.kit.checkpoint import CONTRACT_KEY, load_of_recipe
from traindx.recipes.kit.diffusion import Process
from traindx.recipes.xray2ct.geometry import ConeGeometry
from traindx.recipes.xray2ct.hounsfield import HounsfieldWindow
from traindx.recipes.xray2ct.model import Denoiser
from traindx.recipes.xray2ct.radiograph import DISPLAY_CENTRE, DISPLAY_WIDTH, MU_WATER_PER_MM

if TYPE_CHECKING:
    from traindx.recipes.xray2ct.system import System

FORMAT = 1
"""Raised when weights of an older version mean something else."""

_TIME = "t / T"  # see Process.network_time


def contract_of(system: System) -> dict[str, Any]:
    """The contract of a system, of plain values only."""
    from traindx.version import __version__

    process, window, geometry = system.process, system.window, system.data.geometry
    return {
        "recipe": "xray2ct",
        "format": FORMAT,
        "traindx": __version__,
        "normalisation": {
            "window_hu": [window.low, window.high],
            "radiograph_centre": DISPLAY_CENTRE,
            "radiograph_width": DISPLAY_WIDTH,
            "mu_water_per_mm": MU_WATER_PER_MM,
        },
        "schedule": {
            "timesteps": process.timesteps,
            "shift": process.shift,
            "zero_terminal_snr": True,
        },
        "prediction": process.prediction,
        "time": _TIME,
        "geometry": describe_geometry(geometry),
        "network": dict(system.network_options),
    }


def check(saved: dict[str, Any], wanted: dict[str, Any], path: Path | str) -> None:
    """Compare the contract of a checkpoint with that of the run it is loaded into; the package version may differ.

    Raises:
        InputError: They differ; the message names both values of everything that does.
    """
    differences = list(_differences(saved, wanted))
    if differences:
        raise InputError(
            f"{path} was made under another contract: " + "; ".join(differences),
            expected="the normalisation, schedule, prediction type, time, geometry and network of this run",
            do="give the options that the checkpoint was trained with, or train anew",
        )


def _differences(saved: Any, wanted: Any, name: str = "") -> list[str]:
    if isinstance(saved, dict) and isinstance(wanted, dict):
        keys = [key for key in {**saved, **wanted} if name or key != "traindx"]
        parts = [_differences(saved.get(key), wanted.get(key), f"{name}.{key}".lstrip(".")) for key in keys]
        return [item for part in parts for item in part]
    return [] if saved == wanted else [f"{name} is {saved!r} in the checkpoint and {wanted!r} in this run"]


def read(path: Path) -> dict[str, Any]:
    """Read a checkpoint that carries a contract of this recipe.

    Raises:
        InputError: It is missing, damaged, or of another kind.
    """
    return load_of_recipe(path, "xray2ct", FORMAT)


def process_from(contract: dict[str, Any], sampling_steps: int = Process.sampling_steps) -> Process:
    """The diffusion process of a contract."""
    schedule = contract["schedule"]
    return Process(contract["prediction"], schedule["timesteps"], schedule["shift"], sampling_steps)


def window_from(contract: dict[str, Any]) -> HounsfieldWindow:
    """The Hounsfield window of a contract."""
    low, high = contract["normalisation"]["window_hu"]
    return HounsfieldWindow(low, high)


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
    prefix = "network."
    weights = {key.removeprefix(prefix): value for key, value in checkpoint["state_dict"].items()}
    network.load_state_dict(weights)
    return network.eval()
