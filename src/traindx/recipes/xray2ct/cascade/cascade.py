"""The stages together: earlier ones frozen, the current one trained, all of them run one after the other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import torch
from torch import Tensor, nn

from traindx.errors import InputError
from traindx.recipes.kit.diffusion import Process
from traindx.recipes.xray2ct.cascade.ladder import at_size, coarsened, ladder, refined
from traindx.recipes.xray2ct.cascade.stage import DiffusionStage, RegressionStage, Stage
from traindx.recipes.xray2ct.geometry import VIEWS, ConeGeometry
from traindx.recipes.xray2ct.hounsfield import HounsfieldWindow

Method = Literal["regression", "diffusion"]
RECIPE: Mapping[Method, str] = {"regression": "xray2ct_regression", "diffusion": "xray2ct_cascade"}
"""Name of the recipe of each method."""
STAGES: dict[str, type[Stage]] = {"regression": RegressionStage, "diffusion": DiffusionStage}


@dataclass(frozen=True)
class Plan:
    """What a cascade is made of; all of it goes into the contract of a checkpoint.

    Attributes:
        method: ``regression`` or ``diffusion``.
        sizes: Voxels a side of each stage.
        geometry: Geometry of the radiographs; its shape is that of the last stage or finer.
        window: Hounsfield window of the volumes.
        views: The radiographs that are given.
        networks: Options of each stage's network, see :class:`~traindx.recipes.xray2ct.cascade.unet.VolumeUNet`.
        process: The diffusion process; unused by the regression.
    """

    method: Method
    sizes: tuple[int, ...]
    geometry: ConeGeometry
    window: HounsfieldWindow = field(default_factory=HounsfieldWindow)
    views: tuple[str, ...] = VIEWS
    networks: tuple[Mapping[str, Any], ...] = ()
    process: Process = field(default_factory=Process)

    def __post_init__(self) -> None:
        ladder(self.sizes)
        if self.method not in STAGES:
            raise InputError(f"there is no method {self.method!r}", expected=" or ".join(STAGES))
        if len(self.networks) != len(self.sizes):
            raise InputError(
                f"{len(self.networks)} networks for {len(self.sizes)} stages", expected="options for each stage"
            )

    def stage(self, number: int, prior: tuple[Tensor, float] | None = None) -> Stage:
        """Build a stage with fresh weights.

        Args:
            number: Which, from 0.
            prior: See :class:`~traindx.recipes.xray2ct.cascade.stage.Stage`.
        """
        options: dict[str, Any] = dict(self.networks[number])
        if self.method == "diffusion":
            options.setdefault("prediction", self.process.prediction)
        geometry = at_size(self.geometry, self.sizes[number])
        return STAGES[self.method](geometry, self.window, prior=prior, views=self.views, **options)


class Cascade(nn.Module):
    """Stages of which the last may learn.

    Earlier stages are frozen for good: their parameters take no gradient *and* they stay in evaluation mode whatever
    mode the cascade is in, so running statistics and dropout do not move either.

    Args:
        stages: The stages so far.
    """

    def __init__(self, stages: Sequence[Stage]) -> None:
        super().__init__()
        self.stages = nn.ModuleList(stages)
        for stage in self.stages[:-1]:
            stage.requires_grad_(False)
        self.train(self.training)

    def train(self, mode: bool = True) -> Cascade:
        """Set the mode of the last stage; the others stay in evaluation mode."""
        super().train(mode)
        for stage in self.stages[:-1]:
            stage.eval()
        return self

    @property
    def current(self) -> Stage:
        """The stage that learns."""
        stage = self.stages[-1]
        assert isinstance(stage, Stage)
        return stage

    def forward(self, radiographs: Mapping[str, Tensor], stages: int | None = None) -> Tensor:
        """Reconstruct by regression.

        Args:
            radiographs: One image in network values a view, each ``(B, 1, h, w)``.
            stages: How many stages to run; all by default.

        Returns:
            Network values at the resolution of the last stage that was run, ``(B, 1, D, H, W)``.
        """
        volume: Tensor | None = None
        for number, stage in enumerate(self.stages[:stages]):
            frozen = number < len(self.stages) - 1
            with torch.set_grad_enabled(torch.is_grad_enabled() and not frozen):
                volume = stage(volume, radiographs)
        assert volume is not None
        return volume

    def earlier(self, radiographs: Mapping[str, Tensor]) -> Tensor | None:
        """The regression's volume before the current stage; None in the first."""
        if len(self.stages) == 1:
            return None
        with torch.no_grad():
            return self.forward(radiographs, len(self.stages) - 1)


def prior_of(volumes: Tensor, number: int, sizes: tuple[int, ...]) -> tuple[Tensor, float]:
    """Mean of training volumes at the resolution of a stage, and the deviation from what the stage starts from.

    The first stage starts from the mean; a later one from the earlier volume, which at best is the truth at half the
    resolution and in fact much worse. Taken is the root of the mean of both variances.

    Args:
        volumes: Network values, shape ``(N, 1, D, H, W)``.
        number: Which stage, from 0.
        sizes: Voxels a side of the stages.
    """
    at_stage = coarsened(volumes, sizes[number])
    mean = at_stage.mean(dim=0, keepdim=True)
    around = float((at_stage - mean).square().mean())
    if number:
        lost = float((at_stage - refined(coarsened(at_stage, sizes[number - 1]), sizes[number])).square().mean())
        around = (around + lost) / 2
    return mean, around**0.5
