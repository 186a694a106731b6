"""What a checkpoint promises: plan, network, split and inference settings.

Loading it into a run with another plan is refused; a folder is never scored on cases that the checkpoint was trained on
without saying so.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from traindx.errors import InputError
from traindx.finding import Frozen
from traindx.recipes.kit.checkpoint import CONTRACT_KEY, load
from traindx.recipes.segmentation.cleanup import Cleanup

if TYPE_CHECKING:
    from traindx.recipes.segmentation.module import SegmentationModule


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


def contract_of(module: SegmentationModule) -> dict[str, Any]:
    """The contract of a module, of plain values only."""
    from traindx.version import __version__

    return {
        "recipe": "segmentation",
        "traindx": __version__,
        "plan": module.plan.model_dump(mode="json"),
        "network": {
            "architecture": module.architecture,
            "deep_supervision": module.deep_supervision,
            "dropout": module.dropout,
        },
        "inference": module.settings.model_dump(mode="json"),
        "split": module.split.model_dump(mode="json") if module.split is not None else None,
    }


def check_contract(checkpoint: dict[str, Any], module: SegmentationModule) -> None:
    """Compare a checkpoint's contract with the module it is loaded into.

    Raises:
        InputError: There is none, or the two differ; the message names every value that does.
    """
    saved = checkpoint.get(CONTRACT_KEY)
    if not isinstance(saved, dict) or saved.get("recipe") != "segmentation":
        raise InputError(
            "the checkpoint has no contract of the segmentation recipe",
            expected="a checkpoint written by `traindx train segmentation`",
        )
    wanted = contract_of(module)
    differences = [
        f"{part}.{key}: checkpoint {saved[part].get(key)!r}, this run {wanted[part].get(key)!r}"
        for part in ("plan", "network")
        for key in wanted[part]
        if saved[part].get(key) != wanted[part][key] and key not in ("batch", "precision")
    ]
    if differences:
        raise InputError(
            "the checkpoint was made under another contract: " + "; ".join(differences),
            expected="the same grid, normalisation, label meaning and network",
            do="resume with the same data set and options, or train anew in another folder",
        )


def load_contract(path: Path) -> dict[str, Any]:
    """The whole checkpoint, after checking that it can be used.

    Raises:
        InputError: It is missing, damaged or of another kind.
    """
    checkpoint = load(path, do="train one: traindx train segmentation")
    if CONTRACT_KEY not in checkpoint:
        raise InputError(f"{path} has no contract", expected="a checkpoint written by `traindx train segmentation`")
    return checkpoint


def module_from(path: Path) -> SegmentationModule:
    """The module of a checkpoint, with its weights (the averaged ones where there are), in evaluation mode.

    Raises:
        InputError: The checkpoint cannot be used.
    """
    from traindx.recipes.segmentation.module import SegmentationModule
    from traindx.recipes.segmentation.planning import Plan
    from traindx.recipes.segmentation.splits import Split

    checkpoint = load_contract(path)
    contract = checkpoint[CONTRACT_KEY]
    settings = InferenceSettings.model_validate(contract["inference"])
    module = SegmentationModule(Plan.model_validate(contract["plan"]), flips=settings.flips, **contract["network"])
    module.load_state_dict(checkpoint["state_dict"])
    module.settings = settings
    module.split = Split.model_validate(contract["split"]) if contract["split"] else None
    module.eval()
    return module
