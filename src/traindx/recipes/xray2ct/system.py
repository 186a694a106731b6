"""The whole system as exchangeable parts: one description for training, sampling, evaluation and the case."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn

from traindx.recipes.xray2ct.data import Data
from traindx.recipes.xray2ct.diffusion import Process
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

    def denoise(self, model: nn.Module, x_t: Tensor, t: Tensor, batch: Batch) -> Tensor:
        """Call the network as training does.

        Args:
            model: The network.
            x_t: Noisy volumes, shape ``(B, 1, D, H, W)``.
            t: Integer timesteps, shape ``(B,)``.
            batch: Radiographs under ``frontal`` and ``lateral``, each ``(B, 1, h, w)``.
        """
        return self.call(model, x_t, t, self.process.network_time(t), batch)

    def call(self, model: nn.Module, x_t: Tensor, t: Tensor, time: Tensor, batch: Batch) -> Tensor:
        """Call the network with the time it is to be told beside the timestep that holds."""
        output: Tensor = model(x_t, time, self.process.alpha_bar(t), batch["frontal"], batch["lateral"])
        return output

    def optimizer(self, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        """AdamW whose rate warms up and falls along a cosine over :attr:`steps`."""
        optimizer = torch.optim.AdamW(parameters, self.learning_rate, betas=(0.9, 0.99), weight_decay=0.01)
        WarmupCosine(self.steps).attach(optimizer)
        return optimizer


class WarmupCosine:
    """Learning rate that rises linearly for a fifteenth of the steps, then falls along a cosine to 2 %.

    It is attached to the optimiser, so that a plain training loop needs no scheduler, and starts from whatever rates
    the optimiser has at its first step.

    Args:
        steps: Optimiser steps in all.
    """

    def __init__(self, steps: int) -> None:
        self.steps = steps
        self._peaks: list[float] = []
        self._step = 0

    def factor(self, step: int) -> float:
        """Share of the peak rate at a step, counted from 0."""
        warm = max(1, self.steps // 15)
        if step < warm:
            return (step + 1) / warm
        progress = min(1.0, (step - warm) / max(1, self.steps - warm))
        return 0.02 + 0.98 * 0.5 * (1 + math.cos(math.pi * progress))

    def attach(self, optimizer: torch.optim.Optimizer) -> None:
        """Set the rates before every step of this optimiser."""
        optimizer.register_step_pre_hook(self._before_step)

    def _before_step(self, optimizer: torch.optim.Optimizer, *_: Any) -> None:
        if not self._peaks:
            self._peaks = [float(group["lr"]) for group in optimizer.param_groups]
        for group, peak in zip(optimizer.param_groups, self._peaks, strict=True):
            group["lr"] = peak * self.factor(self._step)
        self._step += 1
