r"""What is minimised: the diffusion loss and, where its weight is not zero, the agreement with the radiographs."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from traindx.recipes.xray2ct.geometry import VIEWS
from traindx.recipes.xray2ct.radiograph import DISPLAY_WIDTH, from_network, line_integral, mu_from_hu

if TYPE_CHECKING:
    from traindx.recipes.xray2ct.diffusion import Process
    from traindx.recipes.xray2ct.system import System

LARGEST_WEIGHT = 1.0
r"""An error of :math:`\hat x_0` counts the same at all noise levels. This is min-SNR weighting (Hang et al. 2023,
equation 4) with SNR + 1 in place of SNR, so that pure noise, where sampling starts, keeps its full weight, and gamma
= 1 instead of 5: in trainings of 100 steps that was worth 0.7 dB, because an error at weak noise hardly matters to the
radiographs' task."""


_LEAST_SIGNAL = 0.05  # below it epsilon says nothing about x0, and its error would count without bound


def training_loss(system: System, model: nn.Module, batch: dict[str, Any]) -> dict[str, Tensor]:
    """Noise the volumes at random timesteps and compare what the network makes of them.

    Args:
        system: The system that the model belongs to.
        model: The network.
        batch: ``ct`` in network values, and the radiographs.

    Returns:
        ``diffusion``, and ``physics`` where it has a weight.
    """
    process, x0 = system.process, batch["ct"]
    t = torch.randint(0, process.timesteps, (len(x0),), device=x0.device)
    noise = torch.randn_like(x0)
    x_t = process.noised(x0, noise, t)
    output = system.denoise(model, x_t, t, batch)
    error = (output - process.target(x0, noise, t)).square()
    terms = {"diffusion": (loss_weight(process, t).view(-1, 1, 1, 1, 1) * error).mean()}
    if system.physics_weight:
        terms["physics"] = system.physics_weight * physics_loss(system, process.to_x0(output, x_t, t), batch)
    return terms


def loss_weight(process: Process, t: Tensor) -> Tensor:
    r"""Weight of the squared error of the output at timesteps ``t``, shape ``(B,)``.

    An error of :math:`\hat x_0` counts ``min(SNR + 1, LARGEST_WEIGHT)`` times, whatever is predicted. An error of v
    stands for :math:`\sigma` times as much in :math:`\hat x_0`, one of epsilon for :math:`\sigma/a` times.
    """
    alpha_bar = process.alpha_bar(t)
    noise = 1 - alpha_bar
    wanted = (1 / noise.clamp_min(1e-6)).clamp_max(LARGEST_WEIGHT)
    if process.prediction == "sample":
        return wanted
    if process.prediction == "v":
        return wanted * noise
    return wanted * noise / alpha_bar.clamp_min(_LEAST_SIGNAL)


def physics_loss(system: System, volume: Tensor, batch: dict[str, Any]) -> Tensor:
    """Mean squared difference between rendered and given radiographs over all views, in the network's values.

    Args:
        system: The system whose renderer is used.
        volume: Predicted volumes in network values, shape ``(B, 1, D, H, W)``.
        batch: The radiographs.
    """
    errors = [
        ((system.render(system, volume, view) - from_network(batch[view])) / DISPLAY_WIDTH).square().mean()
        for view in VIEWS
    ]
    return torch.stack(errors).mean()


def reference_render(system: System, volume: Tensor, view: str) -> Tensor:
    """Line integrals through volumes in network values, by the geometry that the radiographs were made with."""
    return line_integral(mu_from_hu(system.window.decode(volume)), view, system.data.geometry)
