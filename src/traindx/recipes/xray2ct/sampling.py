"""Drawing volumes: deterministic DDIM by diffusers, from pure noise at the timestep without any signal."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

if TYPE_CHECKING:
    from traindx.recipes.xray2ct.system import System


def ddim(system: System, model: nn.Module, batch: dict[str, Any]) -> Tensor:
    """Draw a volume for each pair of radiographs (Song et al. 2021, *DDIM*, equation 12 with eta = 0).

    Args:
        system: The system that the model belongs to.
        model: The network.
        batch: Radiographs under ``frontal`` and ``lateral``, each ``(B, 1, h, w)``.

    Returns:
        Network values, shape ``(B, 1, D, H, W)``; not clipped.
    """
    scheduler = system.process.scheduler()
    scheduler.set_timesteps(system.process.sampling_steps)
    radiograph = batch["frontal"]
    x = torch.randn((len(radiograph), 1, *system.data.geometry.shape), device=radiograph.device)
    with torch.no_grad():
        for timestep in scheduler.timesteps.tolist():
            t = torch.full((len(x),), timestep, device=x.device)
            output = system.call(model, x, t, system.sampling_time(system.process, t), batch)
            x = scheduler.step(output, timestep, x).prev_sample
    return x
