"""Settings of a training, as they go into its contract; unknown names are refused."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal

from pydantic import Field, ValidationError

from traindx.errors import UsageError
from traindx.finding import Frozen
from traindx.recipes.concepts.model import Architecture
from traindx.recipes.concepts.pipeline import Augmentation


class Stage(Frozen):
    """One stage of training.

    Attributes:
        epochs: Passes over the training images; 0 leaves the stage out.
        rates: Peak learning rate by part of the network; parts that are not named are frozen.
    """

    epochs: int
    rates: dict[str, float]


class Settings(Frozen):
    """Everything that a run is made of.

    Attributes:
        source: ``tbx11k``, ``covid``, ``ph2`` or ``phantom``.
        images: Number of phantoms.
        architecture: Sizes of the network.
        augmentation: Of training images only.
        batch_size: Images a batch and process.
        weight_decay: Decoupled, of matrices.
        clip: Largest gradient norm.
        warmup: Steps of linear warm-up of each stage.
        pos_weight_cap: Largest weight of a positive.
        box_weight: Weight of the box loss; 0 trains without boxes.
        margin: Contrast in logits that the box loss asks for.
        temperature: Temperature of the prototypes' contrast.
        separation: Weight of the term that keeps prototypes of one concept apart.
        background: Weight of the term that keeps patches without a concept away from prototypes.
        assignment: Which of a concept's prototypes a patch is drawn to: the one of its ``mode``, a cluster of the
            encoder's features that the stage cannot move, or the ``nearest``, which may be any (and with it the
            patches of a concept become one point).
        hottest: Where images have no boxes: how many of the hottest cells of a concept's map, in images that have the
            concept, are its patches; 0 for the cells of boxes only.
        balance_task: Weight the classes of the task by the inverse of their frequency.
        keep: Weights of each stage that are kept: the ``best`` by validation score, or the ``last``, where validation
            images are too few to choose by.
        stages: ``concepts``, ``prototypes`` and ``task``, in this order.
        weights: File of encoder weights to start from.
        least_coverage: Smallest share of the encoder's tensors that must come from it.
        val: Share of the patients for validation.
        test: Share held out.
        split_seed: Seed of the division; independent of the seed of the training.
        seed: Seed of weights, order and augmentation.
    """

    source: str = "phantom"
    images: int = 240
    architecture: Architecture = Architecture()
    augmentation: Augmentation = Augmentation()
    batch_size: int = 16
    weight_decay: float = 0.01
    clip: float = 5.0
    warmup: int = 20
    pos_weight_cap: float = 10.0
    box_weight: float = 1.0
    margin: float = 2.0
    temperature: float = 0.3
    separation: float = 0.5
    background: float = 2.0
    assignment: Literal["mode", "nearest"] = "mode"
    hottest: int = 0
    balance_task: bool = False
    keep: Literal["best", "last"] = "best"
    stages: dict[str, Stage] = Field(default_factory=dict)
    weights: str = ""
    least_coverage: float = 0.8
    val: float = 0.2
    test: float = 0.2
    split_seed: int = 0
    seed: int = 0


PRESETS = Path(__file__).parent / "presets"
STAGES = ("concepts", "prototypes", "task")


def from_preset(preset: str, **changes: Any) -> Settings:
    """Settings of a preset (a size), with changes by name.

    Raises:
        UsageError: A name or value is not understood.
    """
    import yaml

    values: dict[str, Any] = yaml.safe_load((PRESETS / f"{preset}.yaml").read_text(encoding="utf-8"))
    return settings_of({**values.get("data", {}), **values.get("model", {}), **changes})


def settings_of(values: Mapping[str, Any]) -> Settings:
    """Settings from plain values.

    Raises:
        UsageError: A name or value is not understood; all of them are named.
    """
    try:
        made = Settings.model_validate(values)
    except ValidationError as error:
        said = "; ".join(f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors())
        raise UsageError(
            f"settings that are not understood: {said}", expected=", ".join(Settings.model_fields)
        ) from error
    unknown = set(made.stages) - set(STAGES)
    if unknown:
        raise UsageError(f"there is no stage {', '.join(sorted(unknown))}", expected=", ".join(STAGES))
    return made
