"""Sampling loops around the schedulers of diffusers and MONAI, as their documentation writes them."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

import traindx as dx
from patients.samplers import diffusion_case

DIFFUSERS_TYPES = {"epsilon": "epsilon", "v": "v_prediction", "sample": "sample"}


def diffusers_loop(scheduler: Any, steps: int, **step_arguments: Any):
    """The loop of diffusers' documentation."""

    def sample(model, batch: dict[str, Tensor]) -> Tensor:
        scheduler.set_timesteps(steps)
        x = torch.randn_like(batch["image"]) * scheduler.init_noise_sigma
        for t in scheduler.timesteps:
            scaled = scheduler.scale_model_input(x, t)
            output = model(scaled, t.expand(len(x)), batch["condition"])
            x = scheduler.step(output, t, x, **step_arguments).prev_sample  # the scheduler's line
        return x

    return sample


def diffusers_case(name: str, kind: str = "epsilon", *, steps: int = 10, step: dict[str, Any] | None = None, **options):
    """A case around a scheduler class of diffusers, trained with the scheduler's own ᾱ."""
    import diffusers

    options.setdefault("prediction_type", DIFFUSERS_TYPES[kind])
    case_options = {key: options.pop(key) for key in ("batch", "size", "dimensions") if key in options}
    scheduler = getattr(diffusers, name)(**options)
    loop = diffusers_loop(scheduler, steps, **(step or {}))
    return diffusion_case(kind, scheduler.alphas_cumprod.clone(), sample=loop, **case_options)


def monai_case(name: str, kind: str = "epsilon", *, steps: int = 10, **options) -> dx.Case:
    """A case around a scheduler of MONAI, sampled as ``DiffusionInferer.sample`` does."""
    from monai.networks import schedulers

    options.setdefault("prediction_type", {"epsilon": "epsilon", "v": "v_prediction", "sample": "sample"}[kind])
    case_options = {key: options.pop(key) for key in ("batch", "size", "dimensions") if key in options}
    scheduler = getattr(schedulers, name)(**options)

    def sample(model, batch: dict[str, Tensor]) -> Tensor:
        scheduler.set_timesteps(num_inference_steps=steps)
        image = torch.randn_like(batch["image"])
        for t in scheduler.timesteps:
            output = model(image, torch.Tensor((t,)).to(image.device), batch["condition"])
            image, _ = scheduler.step(output, t, image)  # MONAI's line
        return image

    return diffusion_case(kind, scheduler.alphas_cumprod.clone(), sample=sample, **case_options)
