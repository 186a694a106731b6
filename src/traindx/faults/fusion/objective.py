"""Faults of the loss: a lesion weight that arrives nowhere, and terms that want different images."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from traindx.faults.base import Fault
from traindx.recipes.fusion.case import changed
from traindx.recipes.fusion.normalisation import to_network
from traindx.recipes.fusion.roi import roi_terms
from traindx.recipes.kit.diffusion import loss_weight

if TYPE_CHECKING:
    from traindx.case import Case
    from traindx.recipes.fusion.system import System


def loss_with_dead_gamma(system: System, model: nn.Module, batch: dict[str, Any]) -> dict[str, Tensor]:
    """The document's lesion term: the head runs under no_grad and its output is thresholded."""
    terms, fused = _terms(system, model, batch, batch["fused"])
    if system.head is not None:
        with torch.no_grad():
            logits, reference = system.head(fused), system.head(batch["fused"])
            level = reference.mean()  # an untrained head finds nothing above one half
            seen, wanted = (logits > level).float(), (reference > level).float()
        dice = (2 * (seen * wanted).sum() + 1) / (seen.sum() + wanted.sum() + 1)
        terms["lesion"] = system.roi_weight * system.weights.gamma * (1 - dice)
    return terms


def loss_for_the_average(system: System, model: nn.Module, batch: dict[str, Any]) -> dict[str, Tensor]:
    """The diffusion loss wants the average of both images; the ROI loss wants MR in soft tissue and CT in bone."""
    return _terms(system, model, batch, average_of(batch))[0]


def average_of(batch: dict[str, Any]) -> Tensor:
    """The document's target: the mean of both images."""
    return to_network((batch["ct_display"] + batch["mr_display"]) / 2)


def _terms(system: System, model: nn.Module, batch: dict[str, Any], target: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    process = system.process
    t = torch.randint(0, process.timesteps, (len(target),), device=target.device)
    noise = torch.randn_like(target)
    x_t = process.noised(target, noise, t)
    output = system.denoise(model, x_t, t, batch)
    weight = loss_weight(process, t).view(-1, *(1,) * (target.dim() - 1))
    losses = {"diffusion": (weight * (output - process.target(target, noise, t)).square()).mean()}
    fused = process.to_x0(output, x_t, t)
    for name, term in roi_terms(fused, batch, system.weights, system.head).items():
        losses[name] = system.roi_weight * term
    return losses, fused


def with_dead_gamma(case: Case) -> Case:
    """Train with :func:`loss_with_dead_gamma`."""
    return changed(case, loss=loss_with_dead_gamma)


def with_contradicting_target(case: Case) -> Case:
    """Train with :func:`loss_for_the_average`, and take the average for what is to be predicted."""
    return changed(case, loss=loss_for_the_average).replace(target=average_of)


DOCUMENT = "mri-ct-fusion"

FAULTS = (
    Fault(
        name="dead-gamma",
        recipe="fusion",
        postmortem=DOCUMENT,
        title="the lesion term is computed under no_grad from a thresholded mask",
        apply=with_dead_gamma,
        expected_rule="L303",
        documented_diagnosis="wrong",
        claim="gamma 2.5 to 3.0: more weight on lesions",
        truth="a weight a million times as large changes not one bit of the weights",
    ),
    Fault(
        name="contradicting-target",
        recipe="fusion",
        postmortem=DOCUMENT,
        title="the diffusion target is the average of both images, the ROI loss wants each in its region",
        apply=with_contradicting_target,
        expected_rule="L312",
        documented_diagnosis="wrong",
        claim="",
        truth="at the optimum of either term the other pulls away from it",
    ),
)
