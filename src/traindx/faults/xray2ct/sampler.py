"""Faults of the sampling loop: the noise recovered by a wrong formula, and time as it is never seen in training."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from traindx.errors import InputError
from traindx.faults.base import Fault
from traindx.recipes.xray2ct.case import changed, system_of
from traindx.recipes.xray2ct.sampling import ddim

if TYPE_CHECKING:
    from traindx.case import Case
    from traindx.recipes.kit.diffusion import Process
    from traindx.recipes.xray2ct.system import System


@torch.no_grad()
def reverse_diffusion(system: System, model: nn.Module, batch: dict[str, Any]) -> Tensor:
    """The inference loop of the document, with its formula for the noise."""
    process, xray = system.process, batch["frontal"]
    timesteps = torch.linspace(process.timesteps - 1, 0, process.sampling_steps + 1).long()
    x = torch.randn((len(xray), 1, *system.data.geometry.shape), device=xray.device)
    for i, t in enumerate(timesteps[:-1].tolist()):
        t_batch = torch.full((len(x),), t, device=x.device)
        pred_v = system.call(model, x, t_batch, system.sampling_time(process, t_batch), batch)
        alpha_t = process.alphas_cumprod[t].to(x.device)
        alpha_next = process.alphas_cumprod[timesteps[i + 1]].to(x.device)
        sqrt_alphas_t, sqrt_one_minus_alphas_t = alpha_t.sqrt(), (1 - alpha_t).sqrt()
        pred_x0 = sqrt_alphas_t * x - sqrt_one_minus_alphas_t * pred_v
        pred_noise = (sqrt_alphas_t * x - pred_x0) / sqrt_one_minus_alphas_t
        x = alpha_next.sqrt() * pred_x0 + (1 - alpha_next).sqrt() * pred_noise
    return x


def with_wrong_noise(case: Case) -> Case:
    """Sample with :func:`reverse_diffusion`."""
    system = system_of(case)
    if system.process.prediction != "v" or system.sampler not in (ddim, sample_with_raw_time):
        raise InputError("this loop replaces the healthy one of a network that predicts v", do="apply it first")
    return changed(case, sampler=reverse_diffusion)


@torch.no_grad()
def sample_with_raw_time(system: System, model: nn.Module, batch: dict[str, Any]) -> Tensor:
    """The healthy loop, but for the time that the network is given."""
    process, frontal, lateral = system.process, batch["frontal"], batch["lateral"]
    scheduler = process.scheduler()
    scheduler.set_timesteps(process.sampling_steps)
    x = torch.randn((len(frontal), 1, *system.data.geometry.shape), device=frontal.device)
    for t in scheduler.timesteps.tolist():
        t_batch = torch.full((len(x),), t, device=x.device)
        output = model(x, t_batch.float(), process.alpha_bar(t_batch), frontal, lateral)
        x = scheduler.step(output, t, x).prev_sample
    return x


def raw_time(_: Process, t_batch: Tensor) -> Tensor:
    """Time as the document's inference script hands it to the network: 0 to 999, where training gave 0 to 1."""
    return t_batch.float()


def with_raw_time(case: Case) -> Case:
    """Tell the network the raw timestep in sampling, as nobody did in training."""
    loop = system_of(case).sampler
    return changed(case, sampling_time=raw_time, sampler=sample_with_raw_time if loop is ddim else loop)


DOCUMENT = "xray-to-ct-diffusion"

FAULTS = (
    Fault(
        name="ddim-epsilon",
        recipe="xray2ct",
        postmortem=DOCUMENT,
        title="the sampler recovers the noise as (sqrt(abar) x - x0) / sqrt(1 - abar)",
        apply=with_wrong_noise,
        expected_rule="S501",
        documented_diagnosis="right",
        claim="primary root cause, +20 dB with 99 % confidence",
        truth="a real fault, but with a head that can express its target it is worth little, and behind a "
        "bottlenecked head it hides static: there the right formula alone makes PSNR worse",
    ),
    Fault(
        name="raw-time",
        recipe="xray2ct",
        postmortem=DOCUMENT,
        title="training gives the network t / 1000, sampling gives it t",
        apply=with_raw_time,
        expected_rule="S505",
        documented_diagnosis="right",
        claim="+3 dB",
        truth="a real fault; its worth depends on what else is broken",
    ),
)
