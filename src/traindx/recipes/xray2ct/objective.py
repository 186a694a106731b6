r"""What is minimised: the diffusion loss and, where its weight is not zero, the agreement with the radiographs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from traindx.recipes.xray2ct.geometry import VIEWS
from traindx.recipes.xray2ct.parts import Parts
from traindx.recipes.xray2ct.radiograph import DISPLAY_WIDTH, from_network, line_integral, mu_from_hu


def training_loss(system: Parts, model: nn.Module, batch: dict[str, Any]) -> dict[str, Tensor]:
    """Noise the volumes at random timesteps and compare what the network makes of them.

    Args:
        system: The system that the model belongs to.
        model: The network.
        batch: ``ct`` in network values, and the radiographs.

    Returns:
        ``diffusion``, and ``physics`` where it has a weight.
    """
    process, x0 = system.process, batch["ct"]
    x_t, noise, t = process.noised_at_random(x0)
    output = system.denoise(model, x_t, t, batch)
    terms = {"diffusion": process.loss(output, x0, noise, t)}
    if system.physics_weight:
        terms["physics"] = system.physics_weight * physics_loss(system, process.to_x0(output, x_t, t), batch)
    return terms


def physics_loss(system: Parts, volume: Tensor, batch: dict[str, Any]) -> Tensor:
    """Mean squared difference between rendered and given radiographs over all views, in the network's values.

    Args:
        system: The system whose renderer is used.
        volume: Predicted volumes in network values, shape ``(B, 1, D, H, W)``.
        batch: The radiographs.
    """
    errors = [
        ((system.rendered(volume, view) - from_network(batch[view])) / DISPLAY_WIDTH).square().mean() for view in VIEWS
    ]
    return torch.stack(errors).mean()


def reference_render(system: Parts, volume: Tensor, view: str) -> Tensor:
    """Line integrals through volumes in network values, by the geometry that the radiographs were made with."""
    return line_integral(mu_from_hu(system.window.decode(volume)), view, system.data.geometry)
