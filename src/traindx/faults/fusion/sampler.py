"""Faults of sampling: single-step betas over strides, raw guidance, one noise for all samples; a clamp."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from traindx.errors import InputError
from traindx.faults.base import Fault
from traindx.recipes.fusion.case import DRAWS, changed, system_of
from traindx.recipes.fusion.sampling import Energy, ddim, guided, roi_energy

if TYPE_CHECKING:
    from traindx.case import Case
    from traindx.recipes.fusion.system import System

STRIDE = 50  # of 1000 timesteps: the document's 20 steps
INERT_STEP = 0.1  # times a gradient of the mean loss over all pixels, which is 1e-5
EXPLODING_STEP = 3e5  # what it takes to see that gradient, without a bound


@torch.no_grad()
def strided_sampling(system: System, model: nn.Module, batch: dict[str, Any]) -> Tensor:
    """The document's "DDIM": every 50th timestep, each with the beta of one single step."""
    process, ct, mr = system.process, batch["ct"], batch["mr"]
    energy = roi_energy(system, batch)
    x_t = torch.randn_like(ct)
    for step in range(process.timesteps - STRIDE, -1, -STRIDE):
        t = torch.full((len(x_t),), step, device=x_t.device)
        output = model(x_t, process.network_time(t), process.alpha_bar(t), ct, mr)
        if system.guidance:
            output = guided(process, output, x_t, t, energy, system.guidance)
        alpha_bar, beta = process.alphas_cumprod[step], process.betas[step]
        noise_pred = alpha_bar.sqrt() * output + (1 - alpha_bar).sqrt() * x_t
        x_t = (x_t - beta / (1 - alpha_bar).sqrt() * noise_pred) / (1 - beta).sqrt()
    return x_t


@torch.no_grad()
def clamped_sampling(system: System, model: nn.Module, batch: dict[str, Any]) -> Tensor:
    """The healthy loop with the document's second suspect in it."""
    process, ct, mr = system.process, batch["ct"], batch["mr"]
    energy = roi_energy(system, batch)
    scheduler = process.scheduler()
    scheduler.set_timesteps(process.sampling_steps)
    x_t = torch.randn_like(ct)
    for timestep in scheduler.timesteps.tolist():
        t = torch.full((len(x_t),), timestep, device=x_t.device)
        output = model(x_t, process.network_time(t), process.alpha_bar(t), ct, mr)
        if system.guidance:
            output = guided(process, output, x_t, t, energy, system.guidance)
        x_t = scheduler.step(output, timestep, x_t).prev_sample
        x_t = torch.clamp(x_t, -3.0, 5.0)
    return x_t


def _guided_by(step: float) -> Any:
    """A guided loop whose step is the raw gradient times a number."""

    @torch.no_grad()
    def sample(system: System, model: nn.Module, batch: dict[str, Any]) -> Tensor:
        process, ct, mr = system.process, batch["ct"], batch["mr"]
        energy = roi_energy(system, batch)
        scheduler = process.scheduler()
        scheduler.set_timesteps(process.sampling_steps)
        x_t = torch.randn_like(ct)
        for timestep in scheduler.timesteps.tolist():
            t = torch.full((len(x_t),), timestep, device=x_t.device)
            output = model(x_t, process.network_time(t), process.alpha_bar(t), ct, mr)
            if system.guidance:
                x0 = process.to_x0(output, x_t, t)
                x0 = x0 - step * system.guidance * _gradient(energy, x0)
                output = process.from_x0(x0, x_t, t)
            x_t = scheduler.step(output, timestep, x_t).prev_sample
        return x_t

    def apply(case: Case) -> Case:
        _healthy_loop(case)
        return changed(case, sampler=sample)

    return apply


def _gradient(energy: Energy, x0: Tensor) -> Tensor:
    with torch.enable_grad():
        place = x0.detach().requires_grad_()
        (gradient,) = torch.autograd.grad(energy(place), place)
    return gradient


def with_strides(case: Case) -> Case:
    """Sample with :func:`strided_sampling`."""
    _healthy_loop(case)
    return changed(case, sampler=strided_sampling)


def with_clamp(case: Case) -> Case:
    """Sample with :func:`clamped_sampling`."""
    _healthy_loop(case)
    return changed(case, sampler=clamped_sampling)


def with_one_noise(case: Case) -> Case:
    """Repeat the sampling from the same seed, in a network without a stochastic layer."""
    system = system_of(case)

    def uncertainty(model: nn.Module, batch: dict[str, Any]) -> Tensor:
        drawn = []
        for _ in range(DRAWS):
            with torch.random.fork_rng():
                torch.manual_seed(0)
                drawn.append(system.sampler(system, model, batch))
        return torch.stack(drawn).std(dim=0)

    return case.replace(deployment__uncertainty=uncertainty)


def _healthy_loop(case: Case) -> None:
    if system_of(case).sampler is not ddim:
        raise InputError("the sampling loop was exchanged already", expected="the healthy one")


DOCUMENT = "mri-ct-fusion"

FAULTS = (
    Fault(
        name="strided-sampler",
        recipe="fusion",
        postmortem=DOCUMENT,
        title="the sampler visits every 50th timestep and removes the noise of a single step there",
        apply=with_strides,
        expected_rule="S501",
        documented_diagnosis="wrong",
        claim="",
        truth="nearly all noise is left; an oracle that knows the image does not reveal it, a Gaussian one does",
    ),
    Fault(
        name="output-clamp",
        recipe="fusion",
        postmortem=DOCUMENT,
        title="x is clamped to [-3, 5] in every sampling step",
        apply=with_clamp,
        documented_diagnosis="placebo",
        claim='"killing gradients": no structure is learned, SSIM is 0',
        truth="sampling is under no_grad: weights are bit-identical with and without the clamp",
    ),
    Fault(
        name="guidance-inert",
        recipe="fusion",
        postmortem=DOCUMENT,
        title="guidance takes a raw gradient of 1e-5 times 0.1",
        apply=_guided_by(INERT_STEP),
        expected_rule="S509",
        documented_diagnosis="wrong",
        claim="",
        truth="samples are those of the unguided sampler",
    ),
    Fault(
        name="guidance-exploding",
        recipe="fusion",
        postmortem=DOCUMENT,
        title="guidance takes the raw gradient times a large number, without regard to the noise level",
        apply=_guided_by(EXPLODING_STEP),
        expected_rule="S510",
        documented_diagnosis="wrong",
        claim="",
        truth="samples leave the range of the data by a multiple",
    ),
    Fault(
        name="zero-uncertainty",
        recipe="fusion",
        postmortem=DOCUMENT,
        title="repeated samples start from the same noise, and no layer is stochastic",
        apply=with_one_noise,
        expected_rule="Y708",
        documented_diagnosis="wrong",
        claim="",
        truth="the uncertainty is exactly 0 everywhere",
    ),
)
