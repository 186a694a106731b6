"""Drawing volumes: deterministic DDIM by diffusers, from pure noise at the timestep without any signal."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from traindx.recipes.kit.diffusion import Process
from traindx.recipes.xray2ct.parts import Parts


def ddim(system: Parts, model: nn.Module, batch: dict[str, Any]) -> Tensor:
    """Draw a volume for each pair of radiographs by the process of a system; see :func:`draw`."""
    return draw(system.process, model, batch, system.data.geometry.shape, system.sampling_time)


def draw(
    process: Process,
    model: nn.Module,
    batch: dict[str, Any],
    shape: tuple[int, int, int],
    time: Callable[[Process, Tensor], Tensor] | None = None,
) -> Tensor:
    """Draw a volume for each pair of radiographs; see :meth:`~traindx.recipes.kit.diffusion.Process.draw`.

    Args:
        process: The diffusion process that the model was trained with.
        model: The network.
        batch: Radiographs under ``frontal`` and ``lateral``, each ``(B, 1, h, w)``.
        shape: D, H, W of the volumes.
        time: How the network is told the timestep; as in training by default.

    Returns:
        Network values, shape ``(B, 1, D, H, W)``; not clipped.
    """
    frontal, lateral = batch["frontal"], batch["lateral"]

    def denoise(x: Tensor, t: Tensor) -> Tensor:
        passed = process.network_time(t) if time is None else time(process, t)
        output: Tensor = model(x, passed, process.alpha_bar(t), frontal, lateral)
        return output

    return process.draw(denoise, torch.randn((len(frontal), 1, *shape), device=frontal.device))
