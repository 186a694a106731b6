"""Drawing volumes: deterministic DDIM by diffusers, from pure noise at the timestep without any signal."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from traindx.recipes.xray2ct.diffusion import Process
    from traindx.recipes.xray2ct.system import System


def ddim(system: System, model: nn.Module, batch: dict[str, Any]) -> Tensor:
    """Draw a volume for each pair of radiographs by the process of a system; see :func:`draw`."""
    return draw(system.process, model, batch, system.data.geometry.shape, system.sampling_time)


def draw(
    process: Process,
    model: nn.Module,
    batch: dict[str, Any],
    shape: tuple[int, int, int],
    time: Callable[[Process, Tensor], Tensor] | None = None,
) -> Tensor:
    """Draw a volume for each pair of radiographs (Song et al. 2021, *DDIM*, equation 12 with eta = 0).

    Args:
        process: The diffusion process that the model was trained with.
        model: The network.
        batch: Radiographs under ``frontal`` and ``lateral``, each ``(B, 1, h, w)``.
        shape: D, H, W of the volumes.
        time: How the network is told the timestep; as in training by default.

    Returns:
        Network values, shape ``(B, 1, D, H, W)``; not clipped.
    """
    scheduler = process.scheduler()
    scheduler.set_timesteps(process.sampling_steps)
    frontal, lateral = batch["frontal"], batch["lateral"]
    x = torch.randn((len(frontal), 1, *shape), device=frontal.device)
    with torch.no_grad():
        for timestep in scheduler.timesteps.tolist():
            t = torch.full((len(x),), timestep, device=x.device)
            told = process.network_time(t) if time is None else time(process, t)
            output = model(x, told, process.alpha_bar(t), frontal, lateral)
            x = scheduler.step(output, timestep, x).prev_sample
    return x
