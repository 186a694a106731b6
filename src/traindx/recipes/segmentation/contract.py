"""What a checkpoint promises: plan, network, split and inference settings.

Loading it into a run with another plan is refused; a folder is never scored on cases that the checkpoint was trained on
without saying so.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from traindx.finding import Frozen
from traindx.recipes.kit import contract as kit
from traindx.recipes.kit.contract import CONTRACT_KEY
from traindx.recipes.kit.split import Split
from traindx.recipes.segmentation.cleanup import Cleanup
from traindx.recipes.segmentation.planning import Plan

FORMAT = 1
"""Raised when weights of an older version mean something else."""


class InferenceSettings(Frozen):
    """What was chosen on validation cases, and what inference must repeat of training.

    Attributes:
        flips: Axes that are mirrored and averaged.
        threshold: Threshold of p(foreground), or None for the likeliest class.
        cleanup: Clean-up of the class map.
        tuned: True if threshold and clean-up were chosen on validation cases.
    """

    flips: tuple[int, ...] = ()
    threshold: float | None = None
    cleanup: Cleanup = Cleanup()
    tuned: bool = False


def contract_of(
    plan: Plan, network: Mapping[str, Any], settings: InferenceSettings, split: Split | None
) -> dict[str, Any]:
    """The contract of a module, of plain values only."""
    return {
        **kit.header("segmentation", FORMAT),
        "plan": plan.model_dump(mode="json"),
        "network": dict(network),
        "inference": settings.model_dump(mode="json"),
        "split": split.model_dump(mode="json") if split is not None else None,
    }


def check(checkpoint: Mapping[str, Any], wanted: Mapping[str, Any]) -> None:
    """Refuse a checkpoint of another plan or network; inference settings and split are taken over from it.

    Raises:
        InputError: It has no contract of this recipe, or another one; both values of everything that differs are named.
    """
    kit.check({**checkpoint, CONTRACT_KEY: _bound(checkpoint.get(CONTRACT_KEY))}, _bound(wanted))


def _bound(contract: Any) -> Any:
    """The parts that must not differ: how many patches a step takes, and in what precision, may."""
    if not isinstance(contract, Mapping):
        return contract
    kept = {key: value for key, value in contract.items() if key not in ("inference", "split")}
    plan = {key: value for key, value in contract.get("plan", {}).items() if key not in ("batch", "precision")}
    return {**kept, "plan": plan}


def read(path: Path) -> dict[str, Any]:
    """Read a checkpoint that carries a contract of this recipe.

    Raises:
        InputError: It is missing, damaged, or of another kind.
    """
    return kit.read(path, "segmentation", FORMAT)
