"""Faults around the training: starved updates, a missing selection key, unread settings, a turned mask."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from traindx.faults.base import Fault
from traindx.recipes.fusion import scores
from traindx.recipes.fusion.case import system_of
from traindx.recipes.fusion.pictures import plane
from traindx.recipes.fusion.roi import RoiWeights

if TYPE_CHECKING:
    from traindx.case import Case

ACCUMULATION = 8
WARM_UP = 500  # optimiser steps, in a training that takes a fraction of that many


class Accumulating(torch.optim.AdamW):
    """Steps at every eighth call, under a warm-up longer than the training; gradients are cleared after a step only."""

    def __init__(self, parameters: Iterable[nn.Parameter], lr: float) -> None:
        super().__init__(parameters, lr, betas=(0.9, 0.99), weight_decay=0.01)
        self._peaks = [float(group["lr"]) for group in self.param_groups]
        self._calls = self._updates = 0
        for group in self.param_groups:
            group["initial_lr"] = group["lr"]
            group["lr"] = group["lr"] / WARM_UP

    def step(self, closure: Callable[[], float] | None = None) -> float | None:  # type: ignore[override]
        """Update at every eighth call."""
        self._calls += 1
        if self._calls % ACCUMULATION:
            return None
        for parameter in (weight for group in self.param_groups for weight in group["params"]):
            if parameter.grad is not None:
                parameter.grad.div_(ACCUMULATION)
        self._updates += 1
        for group, peak in zip(self.param_groups, self._peaks, strict=True):
            group["lr"] = peak * min(1.0, self._updates / WARM_UP)
        super().step()
        return None

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Clear only what a step has used; what is left at the end of an epoch goes into the next one."""
        if self._calls % ACCUMULATION == 0:
            super().zero_grad(set_to_none)


def with_starved_updates(case: Case) -> Case:
    """Accumulate and warm up until hardly anything is learned."""
    rate = system_of(case).learning_rate

    def optimizer(parameters: Iterable[nn.Parameter]) -> torch.optim.Optimizer:
        return Accumulating(parameters, rate)

    return case.replace(optimizer=optimizer)


def with_missing_key(case: Case) -> Case:
    """Choose the best checkpoint by a key that the evaluation calls otherwise."""

    def produces() -> tuple[str, ...]:
        return scores.NAMES

    return case.replace(deployment__selects="val/combined_score", deployment__produces=produces)


def with_unread_settings(case: Case) -> Case:
    """Build the training from a third fewer settings than there are."""

    def configure(settings: Mapping[str, Any]) -> Any:
        weights = RoiWeights(settings["alpha"], settings["beta"], 2.0)  # the lesion weight of the first experiment
        return weights, settings["learning_rate"], settings["steps"], settings["roi_weight"]

    return case.replace(deployment__configure=configure)


def with_turned_mask(case: Case) -> Case:
    """Transpose the image for display, and not the mask that is drawn over it."""

    def picture(image: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        return torch.from_numpy(plane(image).T.copy()), torch.from_numpy(plane(mask, mask=True))

    return case.replace(deployment__picture=picture)


DOCUMENT = "mri-ct-fusion"

FAULTS = (
    Fault(
        name="starved-updates",
        recipe="fusion",
        postmortem=DOCUMENT,
        title="gradients are accumulated over 8 batches under a warm-up longer than the training",
        apply=with_starved_updates,
        expected_rule="O412",
        documented_diagnosis="wrong",
        claim="training is stagnant because of the scale of CT",
        truth="five optimiser steps an epoch at a fraction of the rate, and left-over gradients leak into the next one",
    ),
    Fault(
        name="missing-selection-key",
        recipe="fusion",
        postmortem=DOCUMENT,
        title="the best checkpoint is chosen by a figure that is never produced",
        apply=with_missing_key,
        expected_rule="E805",
        documented_diagnosis="wrong",
        claim="",
        truth="the first epoch stays the best for ever",
    ),
    Fault(
        name="unread-settings",
        recipe="fusion",
        postmortem=DOCUMENT,
        title="a third of the configuration is read by nothing",
        apply=with_unread_settings,
        expected_rule="C1107",
        documented_diagnosis="wrong",
        claim="set gamma to 3.0",
        truth="the weight that is to be raised is never read",
    ),
    Fault(
        name="picture-mask-transposed",
        recipe="fusion",
        postmortem=DOCUMENT,
        title="pictures show the image transposed and its mask not",
        apply=with_turned_mask,
        expected_rule="D133",
        documented_diagnosis="wrong",
        claim="",
        truth="every overlay shows a lesion where none is",
    ),
)
