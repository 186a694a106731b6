"""The whole system as exchangeable parts: one description for training, sampling, evaluation and the case."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from traindx.recipes.kit.diffusion import Process
from traindx.recipes.kit.schedule import WarmupCosine, adamw
from traindx.recipes.xray2ct.data import Data
from traindx.recipes.xray2ct.hounsfield import HounsfieldWindow
from traindx.recipes.xray2ct.model import Denoiser
from traindx.recipes.xray2ct.objective import reference_render, training_loss
from traindx.recipes.xray2ct.sampling import ddim

Batch = dict[str, Any]


@dataclass(frozen=True)
class System:
    """What an X-ray-to-CT training is made of. ``dataclasses.replace`` exchanges a part.

    Attributes:
        data: Volumes, radiographs, geometry and window.
        process: Noise schedule, prediction type and sampling steps.
        network: ``(geometry, **network_options) -> module``.
        network_options: Options of the network, see :class:`~traindx.recipes.xray2ct.model.Denoiser`.
        loss: ``(system, model, batch) -> {term: scalar}``.
        sampler: ``(system, model, batch) -> volumes`` in network values.
        sampling_time: ``(process, t) -> time``: how the sampler tells the network the time.
        render: ``(system, volume, view) -> image``: the renderer of the physics loss, from network values to line
            integrals.
        physics_weight: Weight of the physics loss.
        learning_rate: Peak learning rate of AdamW.
        steps: Optimiser steps of a trial.
    """

    data: Data
    process: Process = field(default_factory=Process)
    network: Callable[..., nn.Module] = Denoiser
    network_options: Mapping[str, Any] = field(default_factory=dict)
    loss: Callable[[System, nn.Module, Batch], dict[str, Tensor]] = training_loss
    sampler: Callable[[System, nn.Module, Batch], Tensor] = ddim
    sampling_time: Callable[[Process, Tensor], Tensor] = Process.network_time
    render: Callable[[System, Tensor, str], Tensor] = reference_render
    physics_weight: float = 0.0
    learning_rate: float = 3e-3
    steps: int = 150

    @property
    def window(self) -> HounsfieldWindow:
        """Hounsfield window of the target."""
        return self.data.train.window

    def build(self) -> nn.Module:
        """A network with fresh weights."""
        return self.network(
            self.data.geometry,
            prediction=self.process.prediction,
            prior=self.data.train.prior(),
            **self.network_options,
        )

    def denoise(self, model: nn.Module, x_t: Tensor, t: Tensor, batch: Mapping[str, Any]) -> Tensor:
        """Call the network as training does.

        Args:
            model: The network.
            x_t: Noisy volumes, shape ``(B, 1, D, H, W)``.
            t: Integer timesteps, shape ``(B,)``.
            batch: Radiographs under ``frontal`` and ``lateral``, each ``(B, 1, h, w)``.
        """
        return self.call(model, x_t, t, self.process.network_time(t), batch)

    def call(self, model: nn.Module, x_t: Tensor, t: Tensor, time: Tensor, batch: Mapping[str, Any]) -> Tensor:
        """Call the network with the time it is to be told beside the timestep that holds."""
        output: Tensor = model(x_t, time, self.process.alpha_bar(t), batch["frontal"], batch["lateral"])
        return output

    def rendered(self, volume: Tensor, view: str) -> Tensor:
        """Line integrals through volumes in network values, by the renderer of the physics loss."""
        return self.render(self, volume, view)

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """AdamW whose rate warms up and falls along a cosine over :attr:`steps`."""
        optimizer = adamw(parameters, self.learning_rate)
        WarmupCosine(self.steps).attach(optimizer)
        return optimizer
