"""Faults of the figures of merit: a metric that misreads good predictions, or breaks where a class is absent."""

from __future__ import annotations

from dataclasses import replace

import torch
from torch import Tensor

from traindx import Case, Metric
from traindx.faults.base import Fault


def _remade(case: Case, change: dict[str, Metric]) -> Case:
    return case.replace(metrics={**change})


def diagnostic_double_sigmoid(case: Case) -> Case:
    """The *diagnostic* applies a sigmoid to what are probabilities already: it reports collapse of any model.

    Training and inference are sound. What looked like a constant output of .5 to .731 was made by the check.
    """

    def again(name: str) -> Metric:
        _, metric = case.metric(name)

        def measured(prediction: Tensor, target: Tensor) -> Tensor:
            foreground = (torch.sigmoid(prediction[:, 1:]) >= 0.5).float()  # sigmoid(p) >= .5 for every p >= 0
            value: Tensor = metric.function(torch.cat([1 - foreground.amax(1, keepdim=True), foreground], 1), target)
            return value

        return replace(metric, function=measured)

    return _remade(case, {name: again(name) for name in case.metrics})


def unbinarised_dice(case: Case) -> Case:
    """Dice of values that were never thresholded: it is not bounded by 1, and one large voxel moves it."""

    def soft(prediction: Tensor, target: Tensor) -> Tensor:
        p, t = prediction[:, 1:], target[:, 1:]
        return 2 * (p * t).sum() / (p.sum() + t.sum())

    _, metric = case.metric()
    return _remade(case, {"dice": replace(metric, function=soft)})


def empty_class_nan(case: Case) -> Case:
    """Dice without a rule for an absent class: 0 / 0 in one case makes the mean of all cases NaN."""

    def strict(prediction: Tensor, target: Tensor) -> Tensor:
        chosen = torch.nn.functional.one_hot(prediction.argmax(1), prediction.shape[1]).movedim(-1, 1)
        both = (chosen * target).flatten(2).sum(-1)[:, 1:]
        return (2 * both / (chosen + target).flatten(2).sum(-1)[:, 1:]).mean()

    def with_empty() -> list[object]:
        found = list(case.batches("val"))
        meaning = case.extras["plan"].labels
        empty = {**found[0], "label": torch.full_like(found[0]["label"], meaning.background[0])}
        empty["image"] = torch.zeros_like(empty["image"])
        return [empty, *found]

    _, metric = case.metric()
    return _remade(case.replace(val=with_empty), {"dice": replace(metric, function=strict)})


FAULTS: tuple[Fault, ...] = (
    Fault(
        name="diagnostic-double-sigmoid",
        recipe="segmentation",
        postmortem="surface-segmentation",
        title="the diagnostic itself applies a second sigmoid",
        apply=diagnostic_double_sigmoid,
        expected_rule="E801",
        documented_diagnosis="wrong",
        claim="outputs between .52 and .71 with a standard deviation of .07 prove a collapse",
        truth="the raw outputs had a standard deviation of .30: the check made the collapse that it reported",
    ),
    Fault(
        name="unbinarised-dice",
        recipe="segmentation",
        postmortem="surface-segmentation",
        title="Dice of values that were never thresholded",
        apply=unbinarised_dice,
        expected_rule="E811",
        documented_diagnosis="wrong",
        claim="",
        truth="it is not bounded by one, and one large voxel moves it",
    ),
    Fault(
        name="empty-class-nan",
        recipe="segmentation",
        postmortem="surface-segmentation",
        title="Dice without a rule for an absent class",
        apply=empty_class_nan,
        expected_rule="E801",
        documented_diagnosis="wrong",
        claim="",
        truth="one case without the class makes the mean of all cases not a number",
    ),
)
