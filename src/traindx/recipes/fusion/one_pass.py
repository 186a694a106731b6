r"""A network that gives the fused image at once: what it is trained for, and how it fuses.

.. math:: L = \overline{|F - F^*|} + L_{ROI} + \lambda\,(\overline{|\hat u - u|} + \overline{|u_q - u|})

The absolute error rather than the squared one: where MR moved, or is missing, the answer is uncertain, and a mean of
all answers is blurred more than their median. u is the true shift of MR in the slice, which is known because it was
drawn, :math:`\hat u` the rigid motion that the network fits and :math:`u_q` the shifts that it fits it to
(:mod:`traindx.recipes.fusion.alignment`); both are compared over the body.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from traindx.recipes.fusion.model import Denoiser
from traindx.recipes.fusion.parts import Parts
from traindx.recipes.fusion.roi import roi_terms

SHIFT_WEIGHT = 0.05
"""Of an error of one pixel in where MR belongs: beside a mean absolute error of about 0.05 in the first steps."""


def fuse(_: Parts, model: nn.Module, batch: dict[str, Any]) -> Tensor:
    """Fused images in [-1, 1]; the denoiser's estimate at pure noise, of which it is shown none."""
    assert isinstance(model, Denoiser)
    ct: Tensor = batch["ct"]
    with torch.no_grad():
        return model.estimate(torch.zeros_like(ct), torch.ones(len(ct), device=ct.device), ct, batch["mr"])


def training_loss(system: Parts, model: nn.Module, batch: dict[str, Any]) -> dict[str, Tensor]:
    """Terms of a batch: ``fused``, those of the ROI loss, and ``motion`` and ``shift`` where MR is aligned."""
    assert isinstance(model, Denoiser)
    ct, mr, terms = batch["ct"], batch["mr"], {}
    if model.align is not None:
        mr, motion, shifts = model.align(ct, mr)
        body = (batch["soft"] + batch["bone"]).clamp(0, 1)
        for name, found in (("motion", motion), ("shift", shifts)):
            error = (found - batch["shift"]).abs().sum(dim=1, keepdim=True) if "shift" in batch else found.abs()
            terms[name] = SHIFT_WEIGHT * (error * body).sum() / body.sum().clamp_min(1)
    fused = model.fused(torch.zeros_like(ct), torch.ones(len(ct), device=ct.device), ct, mr)
    terms["fused"] = (fused - batch["fused"]).abs().mean()
    if system.roi_weight:
        for name, term in roi_terms(fused, batch, system.weights, system.head).items():
            terms[name] = system.roi_weight * term
    return terms
