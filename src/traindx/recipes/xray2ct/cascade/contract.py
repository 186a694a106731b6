"""Checkpoints of cascades: what they promise, how they are checked, and how a cascade is made of one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from traindx.recipes.kit.checkpoint import CONTRACT_KEY, load_of_recipe
from traindx.recipes.kit.diffusion import Process
from traindx.recipes.xray2ct.cascade.cascade import Cascade, Plan
from traindx.recipes.xray2ct.contract import describe_geometry, geometry_from, window_from
from traindx.recipes.xray2ct.radiograph import DISPLAY_CENTRE, DISPLAY_WIDTH, MU_WATER_PER_MM

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 1
"""Raised when weights of an older version mean something else."""

COMMON = ("recipe", "format", "normalisation", "geometry", "views", "schedule", "prediction", "time")
"""What a later stage must share with the earlier ones."""


def describe(plan: Plan) -> dict[str, Any]:
    """The contract of a plan, of plain values only."""
    from traindx.version import __version__

    described: dict[str, Any] = {
        "recipe": f"xray2ct_{'cascade' if plan.method == 'diffusion' else plan.method}",
        "format": FORMAT,
        "traindx": __version__,
        "normalisation": {
            "window_hu": [plan.window.low, plan.window.high],
            "radiograph_centre": DISPLAY_CENTRE,
            "radiograph_width": DISPLAY_WIDTH,
            "mu_water_per_mm": MU_WATER_PER_MM,
        },
        "geometry": describe_geometry(plan.geometry),
        "views": list(plan.views),
        "sizes": list(plan.sizes),
        "networks": [plain(options) for options in plan.networks],
    }
    if plan.method == "diffusion":
        process = plan.process
        described["schedule"] = {
            "timesteps": process.timesteps,
            "shift": process.shift,
            "zero_terminal_snr": True,
        }
        described["prediction"] = process.prediction
        described["time"] = "t / T"  # see Process.network_time
    return described


def plan_from(contract: Mapping[str, Any], sampling_steps: int = Process.sampling_steps) -> Plan:
    """The plan of a contract."""
    process = Process()
    method = "regression" if contract["recipe"] == "xray2ct_regression" else "diffusion"
    if method == "diffusion":
        schedule = contract["schedule"]
        process = Process(contract["prediction"], schedule["timesteps"], schedule["shift"], sampling_steps)
    return Plan(
        method,  # type: ignore[arg-type]
        tuple(contract["sizes"]),
        geometry_from(dict(contract)),
        window_from(dict(contract)),
        tuple(contract["views"]),
        tuple(contract["networks"]),
        process,
    )


def read(path: Path, recipe: str | None = None) -> dict[str, Any]:
    """Read a checkpoint of a cascade.

    Args:
        path: The file.
        recipe: The recipe that it must be of; either by default.

    Raises:
        InputError: It is missing, damaged, or of another kind.
    """
    return load_of_recipe(path, recipe or ("xray2ct_regression", "xray2ct_cascade"), FORMAT)


def cascade_from(checkpoint: Mapping[str, Any], sampling_steps: int = Process.sampling_steps) -> tuple[Cascade, Plan]:
    """The cascade of a checkpoint in evaluation mode, the last stage with its averaged weights where there are any."""
    plan = plan_from(checkpoint[CONTRACT_KEY], sampling_steps)
    cascade = Cascade([plan.stage(number) for number in range(len(plan.sizes))])
    cascade.load_state_dict(weights_of(checkpoint["state_dict"], len(plan.sizes)))
    return cascade.eval(), plan


def weights_of(state: Mapping[str, Any], stages: int) -> dict[str, Any]:
    """The cascade's part of a module's state; averaged weights take the place of those they are the average of."""
    own = {name.removeprefix("cascade."): value for name, value in state.items() if name.startswith("cascade.")}
    prefix = "average.module."
    for name, value in state.items():
        if name.startswith(prefix):
            own[f"stages.{stages - 1}.{name.removeprefix(prefix)}"] = value
    return own


def plain(options: Mapping[str, Any]) -> dict[str, Any]:
    """Options as a checkpoint holds them: lists for tuples, in the order of their names."""
    return {key: list(value) if isinstance(value, tuple) else value for key, value in sorted(options.items())}
