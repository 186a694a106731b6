"""The diffusion cascade: what a stage learns, and how the stages draw a volume one after the other."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from traindx.recipes.kit.diffusion import Process
from traindx.recipes.xray2ct.cascade.cascade import Cascade
from traindx.recipes.xray2ct.cascade.stage import DiffusionStage


def diffusion_loss(
    stage: DiffusionStage,
    process: Process,
    earlier: Tensor | None,
    target: Tensor,
    radiographs: Mapping[str, Tensor],
    *,
    condition_noise: float = 0.0,
    physics_weight: float = 0.0,
) -> dict[str, Tensor]:
    r"""Noise the volumes at random timesteps and compare what the stage makes of them.

    What a later stage starts from gets noise of a random strength that the stage is told (Ho et al. 2022, *Cascaded
    diffusion models*, section 4): the volumes that it meets in use are not those of the training patients.

    Args:
        stage: The stage that learns.
        process: The diffusion process.
        earlier: Volume of the stage before, network values; None in the first stage.
        target: Volumes at the stage's resolution, network values, ``(B, 1, D, H, W)``.
        radiographs: One image in network values a view.
        condition_noise: Largest standard deviation of that noise; half of the volumes get none.
        physics_weight: Weight of the agreement of :math:`\hat x_0` with the radiographs. It counts by the signal in
            :math:`x_t`: from pure noise :math:`\hat x_0` is a mean over volumes, whose radiographs are no patient's.
    """
    count = len(target)
    x_t, noise, t = process.noised_at_random(target)
    start = stage.start(earlier, count)
    level = torch.zeros(count, device=target.device)
    if earlier is not None and condition_noise:
        level = condition_noise * torch.rand_like(level) * (torch.rand_like(level) < 0.5)
        start = start + level.view(-1, 1, 1, 1, 1) * torch.randn_like(start)
    output = stage(x_t, process.network_time(t), process.alpha_bar(t), start, radiographs, level).float()
    terms = {"diffusion": process.loss(output, target, noise, t)}
    if physics_weight:
        differences = stage.agreement.differences(process.to_x0(output, x_t, t), radiographs)
        away = torch.stack([image.square().flatten(1).mean(dim=1) for image in differences.values()]).mean(dim=0)
        terms["physics"] = physics_weight * (process.alpha_bar(t) * away).mean()
    return terms


def draw_stage(
    stage: DiffusionStage, process: Process, earlier: Tensor | None, radiographs: Mapping[str, Tensor]
) -> Tensor:
    """Draw volumes by one stage with deterministic DDIM, from pure noise.

    Returns:
        Network values at the stage's resolution; not clipped.
    """
    images = radiographs[stage.views[0]]
    with torch.no_grad():
        start = stage.start(earlier, len(images))

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        output: Tensor = stage(x, process.network_time(t), process.alpha_bar(t), start, radiographs).float()
        return output

    return process.draw(denoise, torch.randn((len(images), 1, *(stage.size,) * 3), device=images.device))


def draw(
    cascade: Cascade,
    process: Process,
    radiographs: Mapping[str, Tensor],
    *,
    stages: int | None = None,
    sampling_steps: int | None = None,
) -> Tensor:
    """Draw volumes by the stages one after the other.

    Args:
        cascade: The stages.
        process: The diffusion process that they were trained with.
        radiographs: One image in network values a view.
        stages: How many stages to run; all by default.
        sampling_steps: DDIM steps of each stage; those of the process by default.

    Returns:
        Network values at the resolution of the last stage that was run.
    """
    if sampling_steps is not None:
        process = replace(process, sampling_steps=sampling_steps)
    volume: Tensor | None = None
    for stage in cascade.stages[:stages]:
        assert isinstance(stage, DiffusionStage)
        volume = draw_stage(stage, process, volume, radiographs)
    assert volume is not None
    return volume
