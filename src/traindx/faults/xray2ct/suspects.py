"""What the document suspects without need: a clamp on an unused branch, a division that cancels, a learning rate."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from traindx.faults.base import Fault
from traindx.recipes.kit.diffusion import Process, loss_weight
from traindx.recipes.xray2ct.case import changed, system_of
from traindx.recipes.xray2ct.objective import physics_loss

if TYPE_CHECKING:
    from diffusers import DDIMScheduler

    from traindx.case import Case
    from traindx.recipes.xray2ct.system import System


def loss_with_clamp(system: System, model: nn.Module, batch: dict[str, Any]) -> dict[str, Tensor]:
    """The document's training step: x0 is recovered and clamped, then used by the physics loss only."""
    process, x_start = system.process, batch["ct"]
    t = torch.randint(0, process.timesteps, (len(x_start),), device=x_start.device)
    noise = torch.randn_like(x_start)
    x_noisy = process.noised(x_start, noise, t)
    pred_v = system.denoise(model, x_noisy, t, batch)
    pred_x_start = process.to_x0(pred_v, x_noisy, t)
    pred_x_start = torch.clamp(pred_x_start, -10.0, 10.0)
    weight = loss_weight(process, t).view(-1, 1, 1, 1, 1)
    losses = {"diffusion": (weight * (pred_v - process.target(x_start, noise, t)).square()).mean()}
    if system.physics_weight:
        losses["physics"] = system.physics_weight * physics_loss(system, pred_x_start, batch)
    return losses


def with_x0_clamp(case: Case) -> Case:
    """Train with :func:`loss_with_clamp`."""
    return changed(case, loss=loss_with_clamp)


@dataclass(frozen=True)
class DividedProcess(Process):
    """The document's schedule: alpha bar is divided by its first value before the betas are taken from it."""

    def scheduler(self) -> DDIMScheduler:
        """A DDIM scheduler with these betas."""
        from diffusers import DDIMScheduler

        x = torch.linspace(0, self.timesteps, self.timesteps + 1, dtype=torch.float64)
        cosine = torch.cos(((x / self.timesteps) + 0.008) / 1.008 * math.pi * 0.5) ** 2
        alphas_cumprod = cosine * self.shift**2 / (cosine * self.shift**2 + 1 - cosine)
        alphas_cumprod = alphas_cumprod / alphas_cumprod[0]
        betas = torch.clip(1 - alphas_cumprod[1:] / alphas_cumprod[:-1], 0, 0.999)
        return DDIMScheduler(
            num_train_timesteps=self.timesteps,
            trained_betas=betas.tolist(),
            prediction_type="v_prediction",
            timestep_spacing="trailing",
            rescale_betas_zero_snr=True,
            clip_sample=False,
        )

    alphas_cumprod = cached_property(lambda self: self.scheduler().alphas_cumprod)
    betas = cached_property(lambda self: self.scheduler().betas)


def with_divided_schedule(case: Case) -> Case:
    """Diffuse by :class:`DividedProcess`."""
    process = system_of(case).process
    return changed(case, process=DividedProcess(process.prediction, process.timesteps, process.shift))


def with_doubled_rate(case: Case) -> Case:
    """Learn at twice the recommended rate."""
    return changed(case, learning_rate=2 * system_of(case).learning_rate)


FAULTS = (
    Fault(
        name="x0-clamp",
        recipe="xray2ct",
        postmortem="xray-to-ct-diffusion",
        title="x0 is clamped to [-10, 10] in training, on the branch of the physics loss",
        apply=with_x0_clamp,
        documented_diagnosis="placebo",
        claim="a 9-unit offset that prevents gradient flow; [-1.5, 1.5] is worth +5 dB",
        truth="the diffusion loss never sees the clamped value: weights are bit-identical with any bounds",
    ),
    Fault(
        name="schedule-division",
        recipe="xray2ct",
        postmortem="xray-to-ct-diffusion",
        title="alpha bar is divided by its first value before the betas are taken from it",
        apply=with_divided_schedule,
        documented_diagnosis="placebo",
        claim="forces abar_0 = 1 and wastes the first timestep; leaving it out is worth +1 dB",
        truth="the division cancels in the ratios that the betas are made of",
    ),
    Fault(
        name="learning-rate-1e-4",
        recipe="xray2ct",
        postmortem="xray-to-ct-diffusion",
        title="the learning rate is twice the recommended one: 1e-4 against 5e-5 there, the same factor here",
        apply=with_doubled_rate,
        documented_diagnosis="placebo",
        claim="training is unstable; half the rate is worth +1 dB",
        truth="the plateau of the bottlenecked head is the same from 5e-6 to 1e-3, and the healthy network learns "
        "as well at either rate",
    ),
)
