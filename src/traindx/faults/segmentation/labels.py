"""Faults of label values: what is not labelled is taught all the same, or values arrive that mean nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor, nn

from traindx import Case
from traindx.faults.base import Fault
from traindx.recipes.segmentation.case import Batch, one_hot
from traindx.recipes.segmentation.labels import IGNORE, LabelMeaning
from traindx.recipes.segmentation.loss import SegmentationLoss


def ignore_as_foreground(case: Case) -> Case:
    """The value that means *not labelled* is trained as the first class, as ``label > 0`` does."""
    meaning = case.extras["plan"].labels
    return _relabelled(case, lambda label: _replace(label, meaning.ignore, meaning.classes[meaning.names[0]][0]))


def ignore_as_background(case: Case) -> Case:
    """The value that means *not labelled* is trained as background, as ``label == 1`` does."""
    meaning = case.extras["plan"].labels
    return _relabelled(case, lambda label: _replace(label, meaning.ignore, meaning.background[0]))


def masks_0_255(case: Case) -> Case:
    """Masks come as 0 and 255 and go into the loss as numbers: the target is 255 times too large."""

    def shift(batch: Batch) -> Batch:
        return {**batch, "label": torch.where(batch["label"] == 1, 255, batch["label"]).to(torch.int16)}

    def loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        probability = torch.softmax(model(batch["image"]), dim=1)[:, 1:2]
        target = batch["label"].float()
        overlap = (probability * target).sum()
        dice = 1 - 2 * overlap / (probability.sum() + target.sum() + 1e-5)
        return {"dice": dice, "bce": nn.functional.mse_loss(probability, target)}

    def target(batch: Batch) -> Tensor:
        foreground = (batch["label"] == 1) | (batch["label"] == 255)
        return one_hot(foreground.to(torch.int8), 2)

    return case.replace(train=_mapped(case, "train", shift), loss=loss, target=target)


def interpolated_labels(case: Case) -> Case:
    """Label maps were resized with linear interpolation and rounded: between background and *ignore* lies a class.

    The batches hold the fractions that came out of the resizing.
    """

    def resized(batch: Batch) -> Batch:
        label = batch["label"].float()
        half = nn.functional.interpolate(label, scale_factor=0.5, mode="trilinear")
        return {**batch, "label": nn.functional.interpolate(half, size=label.shape[2:], mode="trilinear")}

    target = case.target
    assert target is not None
    return _relabelled(
        case.replace(
            train=_mapped(case, "train", resized),
            target=lambda batch: target({**batch, "label": torch.round(batch["label"].float())}),
        ),
        torch.round,
    )


def _relabelled(case: Case, change: Callable[[Tensor], Tensor]) -> Case:
    """The case whose loss sees other labels than the files hold."""
    meaning: LabelMeaning = case.extras["plan"].labels
    criterion = SegmentationLoss(case.extras["loss_weights"])

    def loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        label = change(batch["label"])
        encoded = torch.zeros_like(label, dtype=torch.int8)
        for value in meaning.ignore:
            encoded[label == value] = IGNORE
        for index, values in enumerate(meaning.classes.values(), start=1):
            for value in values:
                encoded[label == value] = index
        return dict(criterion(model(batch["image"]), encoded, batch["labelled"]))

    return case.replace(loss=loss)


def _replace(label: Tensor, values: tuple[int, ...], by: int) -> Tensor:
    out = label.clone()
    for value in values:
        out[label == value] = by
    return out


def _mapped(case: Case, split: str, change: Callable[[Batch], Batch]) -> Callable[[], Iterator[Any]]:
    """The batches of a split, changed one by one."""
    return lambda: (change(batch) for batch in case.batches(split))  # type: ignore[arg-type]


FAULTS: tuple[Fault, ...] = (
    Fault(
        name="ignore-as-foreground",
        recipe="segmentation",
        postmortem="surface-segmentation",
        title="the value that means not labelled is trained as foreground",
        apply=ignore_as_foreground,
        expected_rule="D113",
        documented_diagnosis="wrong",
        claim="the loss weights are unbalanced and the network gave up",
        truth="71 % of the voxels were unlabelled and taught as foreground: the model learnt the prior",
    ),
    Fault(
        name="ignore-as-background",
        recipe="segmentation",
        postmortem="surface-segmentation",
        title="the value that means not labelled is trained as background",
        apply=ignore_as_background,
        expected_rule="D113",
        documented_diagnosis="wrong",
        claim="",
        truth="the network is taught to miss what nobody outlined",
    ),
    Fault(
        name="masks-0-255",
        recipe="segmentation",
        postmortem="surface-segmentation",
        title="masks of 0 and 255 go into the loss as numbers",
        apply=masks_0_255,
        expected_rule="D113",
        documented_diagnosis="wrong",
        claim="",
        truth="the target is 255 times too large",
    ),
    Fault(
        name="interpolated-labels",
        recipe="segmentation",
        postmortem="surface-segmentation",
        title="label maps were resized by interpolation and rounded",
        apply=interpolated_labels,
        expected_rule="D113",
        documented_diagnosis="wrong",
        claim="",
        truth="between background and a value for not labelled, rounding invents a class",
    ),
)
