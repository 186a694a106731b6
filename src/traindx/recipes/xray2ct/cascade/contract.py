"""Checkpoints of cascades: what they promise, how they are checked, and how a cascade is made of one."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from traindx.recipes.kit import contract as kit
from traindx.recipes.kit.contract import CONTRACT_KEY
from traindx.recipes.kit.diffusion import Process
from traindx.recipes.xray2ct.cascade.cascade import RECIPE, Cascade, Plan
from traindx.recipes.xray2ct.contract import describe_data, geometry_from, window_from

if TYPE_CHECKING:
    from collections.abc import Mapping

FORMAT = 1
"""Raised when weights of an older version mean something else."""

COMMON = ("recipe", "format", "normalisation", "geometry", "views", "schedule", "prediction", "time")
"""What a later stage must share with the earlier ones."""


def describe(plan: Plan) -> dict[str, Any]:
    """The contract of a plan, of plain values only."""
    return {
        **kit.header(RECIPE[plan.method], FORMAT),
        **describe_data(plan.window, plan.geometry),
        "views": list(plan.views),
        "sizes": list(plan.sizes),
        "networks": [plain(options) for options in plan.networks],
        **(plan.process.contract() if plan.method == "diffusion" else {}),
    }


def plan_from(contract: Mapping[str, Any], sampling_steps: int = Process.sampling_steps) -> Plan:
    """The plan of a contract."""
    method = next(method for method, recipe in RECIPE.items() if recipe == contract["recipe"])
    process = Process.of(contract, sampling_steps) if method == "diffusion" else Process()
    return Plan(
        method,
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
    return kit.read(path, recipe or tuple(RECIPE.values()), FORMAT)


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
