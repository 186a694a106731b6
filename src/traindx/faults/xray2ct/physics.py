"""Faults of the radiograph renderer in the physics loss."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor

from traindx.faults.base import Fault
from traindx.recipes.xray2ct.case import changed
from traindx.recipes.xray2ct.radiograph import line_integral, mu_from_hu

if TYPE_CHECKING:
    from collections.abc import Callable

    from traindx.case import Case
    from traindx.recipes.xray2ct.system import System

PHYSICS_WEIGHT = 0.1
"""The document's recommendation for switching the loss on again: "start with low weight", 0.1 to 0.2."""


def normalised_drr(system: System, volume: Tensor, view: str) -> Tensor:
    """Sum along the rays, then stretch every image to [0, 1] by its own extremes."""
    drr = volume.sum(dim=-1) if view == "lateral" else volume.sum(dim=-2)
    drr_min = drr.amin(dim=(2, 3), keepdim=True)
    drr_max = drr.amax(dim=(2, 3), keepdim=True)
    return (drr - drr_min) / (drr_max - drr_min + 1e-8)


def drr(system: System, volume: Tensor, angle: float = 0.0) -> Tensor:
    """Line integrals from the front (0 degrees) or from the side (90 degrees)."""
    side = "lateral" if angle == 90.0 else "frontal"
    return line_integral(mu_from_hu(system.window.decode(volume)), side, system.data.geometry)


def one_angle(system: System, volume: Tensor, view: str) -> Tensor:
    """Render the views of the physics loss; the angle is never passed on."""
    return drr(system, volume)


def attenuated_sum(system: System, volume: Tensor, view: str) -> Tensor:
    """The documented fix: "replace sum projection with Beer-Lambert attenuation"."""
    attenuation = torch.exp(-0.1 * volume)  # mu = 0.1 for soft tissue
    return attenuation.sum(dim=-1) if view == "lateral" else attenuation.sum(dim=-2)


def _with_render(render: Callable[[System, Tensor, str], Any], case: Case) -> Case:
    return changed(case, render=render, physics_weight=PHYSICS_WEIGHT)


FAULTS = (
    Fault(
        name="drr-normalised",
        recipe="xray2ct",
        postmortem="xray-to-ct-diffusion",
        title="the physics loss compares a radiograph that was stretched to [0, 1] by its own extremes",
        apply=partial(_with_render, normalised_drr),
        expected_rule="P602",
        documented_diagnosis="right",
        claim="scale-invariant and useless; switching the physics loss off is worth +2 dB",
        truth="a real fault: the loss is not zero at the true volume and does not change with its density",
    ),
    Fault(
        name="drr-one-angle",
        recipe="xray2ct",
        postmortem="xray-to-ct-diffusion",
        title="the lateral radiograph is compared with a frontal rendering",
        apply=partial(_with_render, one_angle),
        expected_rule="P603",
        documented_diagnosis="right",
        claim="the lateral view is never rendered; passing the angle is worth +1 dB",
        truth="a real fault: the physics loss contradicts the diffusion loss",
    ),
    Fault(
        name="drr-attenuated-sum",
        recipe="xray2ct",
        postmortem="xray-to-ct-diffusion",
        title="the fix for the renderer sums exp(-mu v) voxel by voxel, which is no attenuation",
        apply=partial(_with_render, attenuated_sum),
        expected_rule="P601",
        documented_diagnosis="harm",
        claim="Beer-Lambert attenuation instead of a sum, +2 dB",
        truth="still linear in thickness, falls where attenuation rises, and its loss dwarfs the diffusion loss",
    ),
)
