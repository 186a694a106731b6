r"""What is minimised: the diffusion loss and the ROI loss of the fused image that the output implies.

Both have their optimum at F* (:mod:`traindx.recipes.fusion.target`), so neither pulls against the other.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from traindx.recipes.fusion.roi import roi_terms
from traindx.recipes.xray2ct.objective import loss_weight

if TYPE_CHECKING:
    from traindx.recipes.fusion.system import System


def training_loss(system: System, model: nn.Module, batch: dict[str, Any]) -> dict[str, Tensor]:
    """Noise the targets at random timesteps and compare what the network makes of them.

    Args:
        system: The system that the model belongs to.
        model: The network.
        batch: See :class:`~traindx.recipes.fusion.data.Windows`.

    Returns:
        ``diffusion``, and the terms of the ROI loss that have a weight: ``soft``, ``bone``, ``lesion``.
    """
    process, x0 = system.process, batch["fused"]
    t = torch.randint(0, process.timesteps, (len(x0),), device=x0.device)
    noise = torch.randn_like(x0)
    x_t = process.noised(x0, noise, t)
    output = system.denoise(model, x_t, t, batch)
    error = (output - process.target(x0, noise, t)).square()
    weight = loss_weight(process, t).view(-1, *(1,) * (x0.dim() - 1))
    terms = {"diffusion": (weight * error).mean()}
    if system.roi_weight:
        fused = process.to_x0(output, x_t, t)
        for name, term in roi_terms(fused, batch, system.weights, system.head).items():
            terms[name] = system.roi_weight * term
    return terms
