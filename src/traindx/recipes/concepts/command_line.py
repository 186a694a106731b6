"""What LightningCLI reads for a training: the settings, as arguments of a data module and of a module.

The network can only be built once the radiographs are there (they say how many concepts there are), and each stage has
a trainer of its own. So these two hold settings, and :mod:`traindx.recipes.concepts.train` makes the rest of them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import lightning as L

from traindx.recipes.concepts.settings import Settings, settings_of

_DEFAULT = Settings()


class ConceptsDataSettings(L.LightningDataModule):  # type: ignore[misc]
    """Radiographs and how they are divided.

    Args:
        source: ``tbx11k``, ``covid``, ``ph2`` or ``phantom``.
        images: Number of phantoms.
        augmentation: Of training images only, see :class:`~traindx.recipes.concepts.pipeline.Augmentation`.
        batch_size: Images a batch and process.
        val: Share of the patients for validation.
        test: Share held out.
        split_seed: Seed of the division; independent of the seed of the training.
    """

    def __init__(
        self,
        source: Literal["phantom", "tbx11k", "covid", "ph2"] = "phantom",
        images: int = _DEFAULT.images,
        augmentation: dict[str, Any] | None = None,
        batch_size: int = _DEFAULT.batch_size,
        val: float = _DEFAULT.val,
        test: float = _DEFAULT.test,
        split_seed: int = _DEFAULT.split_seed,
    ) -> None:
        super().__init__()
        self.given = _given(locals())


class ConceptsModelSettings(L.LightningModule):  # type: ignore[misc]
    """The network, its losses and its stages.

    Args:
        architecture: Sizes of the network, see :class:`~traindx.recipes.concepts.model.Architecture`.
        weight_decay: Decoupled, of matrices.
        clip: Largest gradient norm.
        warmup: Steps of linear warm-up of each stage.
        pos_weight_cap: Largest weight of a positive.
        box_weight: Weight of the box loss; 0 trains without boxes.
        margin: Contrast in logits that the box loss asks for.
        temperature: Temperature of the prototypes' contrast.
        separation: Weight of the term that keeps prototypes of one concept apart.
        background: Weight of the term that keeps patches without a concept away from prototypes.
        assignment: ``mode`` or ``nearest``: which of a concept's prototypes a patch is drawn to.
        hottest: Cells of a concept's map that are its patches where there are no boxes; 0 for boxes only.
        balance_task: Weight the classes of the task by the inverse of their frequency.
        keep: ``best`` or ``last``: the weights of each stage that are kept.
        stages: ``concepts``, ``prototypes`` and ``task``, in this order: epochs, and the peak learning rate by part.
        weights: File of encoder weights to start from.
        least_coverage: Smallest share of the encoder's tensors that must come from it.
        seed: Seed of weights, order and augmentation.
    """

    def __init__(
        self,
        architecture: dict[str, Any] | None = None,
        weight_decay: float = _DEFAULT.weight_decay,
        clip: float = _DEFAULT.clip,
        warmup: int = _DEFAULT.warmup,
        pos_weight_cap: float = _DEFAULT.pos_weight_cap,
        box_weight: float = _DEFAULT.box_weight,
        margin: float = _DEFAULT.margin,
        temperature: float = _DEFAULT.temperature,
        separation: float = _DEFAULT.separation,
        background: float = _DEFAULT.background,
        assignment: Literal["mode", "nearest"] = _DEFAULT.assignment,
        hottest: int = _DEFAULT.hottest,
        balance_task: bool = _DEFAULT.balance_task,
        keep: Literal["best", "last"] = _DEFAULT.keep,
        stages: dict[str, Any] | None = None,
        weights: str = "",
        least_coverage: float = _DEFAULT.least_coverage,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.given = _given(locals())


def settings_from(data: ConceptsDataSettings, model: ConceptsModelSettings) -> Settings:
    """The settings of both.

    Raises:
        UsageError: A name or value is not understood; all of them are named.
    """
    return settings_of({**data.given, **model.given})


def _given(arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Arguments that say something, by name."""
    return {name: value for name, value in arguments.items() if name not in ("self", "__class__") and value is not None}
