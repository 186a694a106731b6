"""Faults of the progressive regression (postmortems/progressive-cascade.md)."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from traindx.case import Metric
from traindx.case_parts import FullRun
from traindx.faults.base import Chapter
from traindx.faults.xray2ct.data import with_training_patients
from traindx.recipes.xray2ct.cascade.cascade import Cascade
from traindx.recipes.xray2ct.cascade.case import changed, system_of, with_window
from traindx.recipes.xray2ct.hounsfield import HounsfieldWindow

if TYPE_CHECKING:
    from traindx.case import Case
    from traindx.recipes.xray2ct.cascade.stage import Stage
    from traindx.recipes.xray2ct.cascade.system import CascadeSystem

RECIPE, DOCUMENT = "xray2ct_regression", "progressive-cascade"
TWO_EPOCHS = 24  # optimiser steps: 48 volumes in batches of 4
FINAL_RATE = 0.01  # of the peak: the document's cosine falls from 1e-4 to 1e-6


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


def validation_with_empty_sums(system: CascadeSystem, cascade: Cascade) -> dict[str, float]:
    """A validation loop that computes every figure and adds none of them to its sums."""
    totals, count = {"val_psnr": 0.0}, 0
    with torch.no_grad():
        for batch in system.data.val_batches():
            psnr_of_peak_two(system.window, system.predict(system, cascade, batch), batch["ct"])
            count += len(batch["ct"])
    return {name: total / count for name, total in totals.items()}


def psnr_of_peak_two(window: HounsfieldWindow, prediction: Tensor, target: Tensor) -> Tensor:
    """PSNR of volumes in [0, 1] with the peak of those in [-1, 1]."""
    pred, gt = (window.encode(window.decode(volume)).add(1).div(2) for volume in (prediction, target))
    mse = (pred - gt).square().mean().clamp_min(1e-10)
    return 20 * torch.log10(torch.tensor(2.0)) - 10 * torch.log10(mse)


def joint_min_max_psnr(prediction: Tensor, target: Tensor) -> Tensor:
    """PSNR after prediction and target are brought to [0, 1] by their common smallest and largest value."""
    low, high = torch.minimum(prediction.min(), target.min()), torch.maximum(prediction.max(), target.max())
    pred, gt = ((volume - low) / (high - low + 1e-8) for volume in (prediction, target))
    return -10 * torch.log10((pred - gt).square().mean().clamp_min(1e-10))


def with_peak_two(case: Case) -> Case:
    """Measure by :func:`psnr_of_peak_two`."""
    window = system_of(case).window
    return case.replace(metrics={"psnr": Metric(partial(psnr_of_peak_two, window), unit="dB")})


def with_joint_min_max(case: Case) -> Case:
    """Measure by :func:`joint_min_max_psnr`."""
    return case.replace(metrics={"psnr": Metric(joint_min_max_psnr, unit="dB")})


def with_known_patient(case: Case) -> Case:
    """Put a training patient in the place of the last validation patient."""
    return changed(case, data=with_training_patients(system_of(case).data, 1))


def without_gradient_term(case: Case) -> Case:
    """Leave the edge term out."""
    return changed(case, weights=replace(system_of(case).weights, gradient=0.0))


def _assembled(assemble: Callable[[CascadeSystem, list[Stage]], Cascade], case: Case) -> Case:
    return changed(case, assemble=assemble)


def with_missing_key(case: Case) -> Case:
    """Choose the best checkpoint by a figure that validation does not return, with 0 in its place."""
    return changed(case, produces=validation_without_psnr)


def with_empty_sums(case: Case) -> Case:
    """Choose the best checkpoint by :func:`validation_with_empty_sums`."""
    return changed(case, validate=validation_with_empty_sums)


def resumed_at_the_end(rate: float, parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
    """AdamW with the rate set by hand, and the finished schedule of the first run, which steps after every step."""
    optimizer = torch.optim.AdamW(parameters, rate, betas=(0.9, 0.99), weight_decay=0.01)

    def scheduler_step(*_: Any) -> None:
        for group in optimizer.param_groups:
            group["lr"] = FINAL_RATE * rate

    optimizer.register_step_post_hook(scheduler_step)
    return optimizer


def with_restored_schedule(case: Case) -> Case:
    """Optimise by :func:`resumed_at_the_end`."""
    return case.replace(optimizer=partial(resumed_at_the_end, system_of(case).learning_rate))


def with_narrow_window(case: Case) -> Case:
    """Clip the target to [-200, 200] HU."""
    return with_window(case, HounsfieldWindow(-200.0, 200.0))


def with_two_epochs(case: Case) -> Case:
    """The author's own training is that short, not only a trial."""
    return case.replace(steps=TWO_EPOCHS, full_run=FullRun(TWO_EPOCHS))


_CHAPTER = Chapter(RECIPE, DOCUMENT)

FAULTS = (
    _CHAPTER.fault(
        "frozen-stage-moves",
        "the first stage is frozen by requires_grad alone; its batch normalisation follows the batches of the second",
        partial(_assembled, half_frozen),
        "M209",
        "wrong",
        "not mentioned: the earlier stage counts as frozen",
        "its running statistics change at every step, so later stages learn from another stage than is used",
    ),
    _CHAPTER.fault(
        "earlier-stage-never-loaded",
        "0 tensors of the first stage's checkpoint fit by name, and it is frozen with random weights",
        partial(_assembled, never_loaded),
        "M207",
        "wrong",
        "not mentioned; 20 epochs are too few",
        "the second stage refines noise; loading with strict=False said nothing",
    ),
    _CHAPTER.fault(
        "selection-key-zero",
        "the best checkpoint is chosen by val_psnr, which validation never returns, with a default of 0",
        with_missing_key,
        "E805",
        "wrong",
        "not mentioned",
        "the first epoch stays the best for ever",
    ),
    _CHAPTER.fault(
        "accumulators-never-filled",
        "the figures of the validation are computed and never added up",
        with_empty_sums,
        "E805",
        "wrong",
        "not mentioned",
        "val_psnr is 0 in every epoch, so that the first one stays the best",
    ),
    _CHAPTER.fault(
        "psnr-peak-two",
        "PSNR uses peak 2 on data in [0, 1]",
        with_peak_two,
        "E802",
        "wrong",
        "27.63 dB, the first version to learn",
        "+6.02 dB by convention: fixed predictors gain the same between the two versions",
    ),
    _CHAPTER.fault(
        "psnr-joint-min-max",
        "PSNR is computed after prediction and target are stretched together to [0, 1]",
        with_joint_min_max,
        "E801",
        "wrong",
        "not mentioned",
        "one corrupt voxel raises the figure from 10.9 to 31.7 dB",
    ),
    _CHAPTER.fault(
        "validated-on-training-patients",
        "one of the validation patients is a training patient",
        with_known_patient,
        "E806",
        "wrong",
        "not mentioned",
        "a single validation patient was taken from the training set: the figure is that of memory",
    ),
    _CHAPTER.fault(
        "schedule-restored-at-its-end",
        "extended training sets a new learning rate, and the restored schedule puts its last one back",
        with_restored_schedule,
        "O407",
        "wrong",
        "resume the second stage for 100 epochs; 20 were too few",
        "all steps but the first are taken at 1 % of the rate: the additional epochs hardly train",
    ),
    _CHAPTER.fault(
        "regression-window-soft-tissue",
        "the target of the regression is clipped to [-200, 200] HU",
        with_narrow_window,
        "D102",
        "harm",
        "more contrast in soft tissue",
        "lung and bone become constants that the radiographs still show",
    ),
    _CHAPTER.fault(
        "gradient-term-missing",
        "the loss lacks its edge term",
        without_gradient_term,
        "",
        "placebo",
        "the loss is blind to edges; the term sharpens vessels",
        "the absolute error and the structure term already send gradient to every spatial frequency",
    ),
    _CHAPTER.fault(
        "two-epochs",
        "the author trains for two epochs, while the validation still improves",
        with_two_epochs,
        "T903",
        "right",
        "20 epochs are too few, and that is the primary cause",
        "two epochs are; after 20 (240 steps of this case) twice as many are forecast to give 0.2 to 4.3 dB, so "
        "that nothing is claimed",
    ),
)
