"""Faults of the progressive regression (postmortems/progressive-cascade.md)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from traindx.case import Metric
from traindx.faults.base import Fault
from traindx.recipes.xray2ct.cascade.cascade import Cascade
from traindx.recipes.xray2ct.cascade.case import changed, system_of, with_window
from traindx.recipes.xray2ct.cascade.system import terms_of
from traindx.recipes.xray2ct.hounsfield import HounsfieldWindow

if TYPE_CHECKING:
    from traindx.case import Case
    from traindx.recipes.xray2ct.cascade.stage import Stage
    from traindx.recipes.xray2ct.cascade.system import CascadeSystem

RECIPE, DOCUMENT = "xray2ct_regression", "progressive-cascade"


class HalfFrozenCascade(Cascade):
    """Earlier stages take no gradient, and follow the mode of the whole all the same."""

    def train(self, mode: bool = True) -> HalfFrozenCascade:
        """Set the mode of every stage."""
        nn.Module.train(self, mode)
        return self


def half_frozen(system: CascadeSystem, stages: list[Stage]) -> Cascade:
    """Freeze the first stage, which has batch normalisation, by ``requires_grad`` alone."""
    network = stages[0].network
    network.enter = nn.Sequential(network.enter, nn.BatchNorm3d(network.enter.out_channels))  # type: ignore[assignment]
    return HalfFrozenCascade(stages)


def never_loaded(system: CascadeSystem, stages: list[Stage]) -> Cascade:
    """The names in the checkpoint of the first stage fit none of its tensors; it is frozen as it was drawn."""
    checkpoint = {f"module.{name}": value for name, value in stages[0].state_dict().items()}
    first = system.stage(0)
    first.load_state_dict(checkpoint, strict=False)
    return Cascade([first, *stages[1:]])


def validation_without_psnr(system: CascadeSystem) -> tuple[str, ...]:
    """What the document's validation loop returns."""
    return ("val_loss", "val_l1", "val_ssim")


def psnr_of_peak_two(window: HounsfieldWindow, prediction: Tensor, target: Tensor) -> Tensor:
    """PSNR of volumes in [0, 1] with the peak of those in [-1, 1]."""
    pred, gt = (window.encode(window.decode(volume)).add(1).div(2) for volume in (prediction, target))
    mse = (pred - gt).square().mean().clamp_min(1e-10)
    return 20 * torch.log10(torch.tensor(2.0)) - 10 * torch.log10(mse)


def loss_with_saturated_edges(system: CascadeSystem, cascade: Cascade, batch: Mapping[str, Any]) -> dict[str, Tensor]:
    """The recipe's terms, and one for edges that is summed over the volume and then clamped to [0, 100]."""
    terms = terms_of(system, cascade, batch)
    prediction = cascade(system.radiographs(batch))
    difference = prediction - batch["ct"]
    edges = sum(difference.diff(dim=axis).square().sum() for axis in (2, 3, 4))
    assert isinstance(edges, Tensor)
    terms["edges"] = 0.15 * torch.clamp(edges, 0, 100)
    return terms


def with_saturated_edges(case: Case) -> Case:
    """Train with :func:`loss_with_saturated_edges`."""
    return changed(case, terms=loss_with_saturated_edges)


def with_peak_two(case: Case) -> Case:
    """Measure by :func:`psnr_of_peak_two`."""
    window = system_of(case).window
    return case.but(metrics={"psnr": Metric(partial(psnr_of_peak_two, window), unit="dB")})


def without_gradient_term(case: Case) -> Case:
    """Leave the edge term out."""
    return changed(case, weights=replace(system_of(case).weights, gradient=0.0))


def _assembled(assemble: Callable[[CascadeSystem, list[Stage]], Cascade], case: Case) -> Case:
    return changed(case, assemble=assemble)


def with_missing_key(case: Case) -> Case:
    """Choose the best checkpoint by a figure that validation does not return, with 0 in its place."""
    return changed(case, produces=validation_without_psnr)


def with_narrow_window(case: Case) -> Case:
    """Clip the target to [-200, 200] HU."""
    return with_window(case, HounsfieldWindow(-200.0, 200.0))


def _fault(
    name: str, title: str, apply: Callable[[Case], Case], rule: str, diagnosed: Any, claim: str, truth: str
) -> Fault:
    return Fault(
        name=name,
        recipe=RECIPE,
        postmortem=DOCUMENT,
        title=title,
        apply=apply,
        expected_rule=rule,
        documented_diagnosis=diagnosed,
        claim=claim,
        truth=truth,
    )


FAULTS = (
    _fault(
        "frozen-stage-moves",
        "the first stage is frozen by requires_grad alone; its batch normalisation follows the batches of the second",
        partial(_assembled, half_frozen),
        "M209",
        "wrong",
        "not mentioned: the earlier stage counts as frozen",
        "its running statistics change at every step, so later stages learn from another stage than is used",
    ),
    _fault(
        "earlier-stage-never-loaded",
        "0 tensors of the first stage's checkpoint fit by name, and it is frozen with random weights",
        partial(_assembled, never_loaded),
        "M207",
        "wrong",
        "not mentioned; 20 epochs are too few",
        "the second stage refines noise; loading with strict=False said nothing",
    ),
    _fault(
        "selection-key-zero",
        "the best checkpoint is chosen by val_psnr, which validation never returns, with a default of 0",
        with_missing_key,
        "E805",
        "wrong",
        "not mentioned",
        "the first epoch stays the best for ever",
    ),
    _fault(
        "psnr-peak-two",
        "PSNR uses peak 2 on data in [0, 1]",
        with_peak_two,
        "E802",
        "wrong",
        "27.63 dB, the first version to learn",
        "+6.02 dB by convention: fixed predictors gain the same between the two versions",
    ),
    _fault(
        "saturated-edge-term",
        "the edge term is summed over the volume and clamped to [0, 100], where it always is at 100",
        with_saturated_edges,
        "L303",
        "wrong",
        "an edge term sharpens the second stage",
        "its gradient is exactly zero at every step",
    ),
    _fault(
        "regression-window-soft-tissue",
        "the target of the regression is clipped to [-200, 200] HU",
        with_narrow_window,
        "D102",
        "harm",
        "more contrast in soft tissue",
        "lung and bone become constants that the radiographs still show",
    ),
    _fault(
        "gradient-term-missing",
        "the loss lacks its edge term",
        without_gradient_term,
        "",
        "placebo",
        "the loss is blind to edges; the term sharpens vessels",
        "the absolute error and the structure term already send gradient to every spatial frequency",
    ),
)
