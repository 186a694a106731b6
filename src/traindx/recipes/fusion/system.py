"""The whole system as exchangeable parts: one description for training, sampling, evaluation and the case."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from traindx.recipes.fusion.data import Data
from traindx.recipes.fusion.model import Denoiser
from traindx.recipes.fusion.objective import training_loss
from traindx.recipes.fusion.roi import RoiWeights
from traindx.recipes.fusion.sampling import ddim
from traindx.recipes.kit.diffusion import Process
from traindx.recipes.kit.schedule import WarmupCosine, adamw

Batch = dict[str, Any]

SAMPLING_STEPS = 10


@dataclass(frozen=True)
class System:
    """What a fusion training is made of. ``dataclasses.replace`` exchanges a part.

    Attributes:
        data: Windows of both splits.
        process: Noise schedule, prediction type and sampling steps.
        network: ``(dims, prediction=, **network_options) -> module``.
        network_options: Options of the network, see :class:`~traindx.recipes.fusion.model.Denoiser`.
        loss: ``(system, model, batch) -> {term: scalar}``.
        sampler: ``(system, model, batch) -> fused`` in network values.
        weights: Weights of the ROI loss.
        roi_weight: Weight of the whole ROI loss beside the diffusion loss.
        head: Frozen lesion head, if there is one.
        guidance: Size of a guided move in sampling, in units of the noise level; 0 for none.
        learning_rate: Peak learning rate of AdamW.
        steps: Optimiser steps of a trial.
        one_pass: The network gives the fused image at once; no diffusion.
    """

    data: Data
    process: Process = field(default_factory=lambda: Process(sampling_steps=SAMPLING_STEPS))
    network: Callable[..., nn.Module] = Denoiser
    network_options: Mapping[str, Any] = field(default_factory=dict)
    loss: Callable[[System, nn.Module, Batch], dict[str, Tensor]] = training_loss
    sampler: Callable[[System, nn.Module, Batch], Tensor] = ddim
    weights: RoiWeights = field(default_factory=RoiWeights)
    roi_weight: float = 0.05
    head: nn.Module | None = None
    guidance: float = 0.0
    learning_rate: float = 2e-3
    steps: int = 150
    one_pass: bool = False

    def build(self) -> nn.Module:
        """A network with fresh weights."""
        return self.network(self.data.dims, prediction=self.process.prediction, **self.network_options)

    def denoise(self, model: nn.Module, x_t: Tensor, t: Tensor, batch: Mapping[str, Any]) -> Tensor:
        """Call the network as training does.

        Args:
            model: The network.
            x_t: Noisy fused images, shape ``(B, 1, ...)``.
            t: Integer timesteps, shape ``(B,)``.
            batch: ``ct`` and ``mr``.
        """
        process = self.process
        output: Tensor = model(x_t, process.network_time(t), process.alpha_bar(t), batch["ct"], batch["mr"])
        return output

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """AdamW whose rate warms up and falls along a cosine over :attr:`steps`."""
        optimizer = adamw(parameters, self.learning_rate)
        WarmupCosine(self.steps).attach(optimizer)
        return optimizer
