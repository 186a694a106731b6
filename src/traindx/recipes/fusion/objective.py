r"""What is minimised: the diffusion loss and the ROI loss of the fused image that the output implies.

Both have their optimum at F* (:mod:`traindx.recipes.fusion.target`), so neither pulls against the other.
"""

from __future__ import annotations

from typing import Any

from torch import Tensor, nn

from traindx.recipes.fusion.parts import Parts
from traindx.recipes.fusion.roi import roi_terms


def training_loss(system: Parts, model: nn.Module, batch: dict[str, Any]) -> dict[str, Tensor]:
    """Noise the targets at random timesteps and compare what the network makes of them.

    Args:
        system: The system that the model belongs to.
        model: The network.
        batch: See :class:`~traindx.recipes.fusion.data.Windows`.

    Returns:
        ``diffusion``, and the terms of the ROI loss that have a weight: ``soft``, ``bone``, ``lesion``.
    """
    process, x0 = system.process, batch["fused"]
    x_t, noise, t = process.noised_at_random(x0)
    output = system.denoise(model, x_t, t, batch)
    terms = {"diffusion": process.loss(output, x0, noise, t)}
    if system.roi_weight:
        fused = process.to_x0(output, x_t, t)
        for name, term in roi_terms(fused, batch, system.weights, system.head).items():
            terms[name] = system.roi_weight * term
    return terms
