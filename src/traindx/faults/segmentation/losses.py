"""Faults of the loss: terms that dominate, never arrive, cannot reach zero, or broadcast; one is without effect."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from traindx import Case
from traindx.faults.base import Fault
from traindx.recipes.segmentation.case import Batch, encode
from traindx.recipes.segmentation.labels import IGNORE


def _with_variance(case: Case, weight: float, *, thresholded: bool = False) -> Case:
    """Adds ``-weight * Var(p(foreground))`` over labelled voxels, meant to keep the output from collapsing."""
    meaning = case.extras["plan"].labels

    def loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        captured: list[Tensor] = []
        handle = model.register_forward_hook(lambda _, __, output: captured.append(output))
        try:
            terms = case.loss_terms(model, batch)
        finally:
            handle.remove()
        foreground = 1 - torch.softmax(captured[-1], dim=1)[:, 0]
        if thresholded:
            foreground = (foreground > 0.5).float()
        seen = (encode(batch["label"], meaning) != IGNORE)[:, 0]
        return {**terms, "variance": -weight * foreground[seen].var(correction=0)}

    return case.replace(loss=loss)


def variance_term(case: Case) -> Case:
    """The variance term at the weight that the criterion really had: its default of .1, about 5 % of the gradient."""
    return _with_variance(case, 0.1)


def variance_term_dominates(case: Case) -> Case:
    """The variance term at 200 times that weight: half of the volume at 1 and half at 0 is now the best output."""
    return _with_variance(case, 20.0)


def weight_never_arrives(case: Case) -> Case:
    """The variance is taken of the thresholded mask: the term is logged, and no weight of it reaches a parameter."""
    return _with_variance(case, 0.1, thresholded=True)


def loss_floor(case: Case) -> Case:
    """Dice without its factor of two: a perfect prediction costs one half, and the curve looks stuck when it is not."""
    meaning = case.extras["plan"].labels

    def loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        label = encode(batch["label"], meaning)
        seen = label != IGNORE
        p = (torch.softmax(model(batch["image"]), dim=1) * seen)[:, 1:]
        truth = (label > 0).float()
        dice = 1 - (p * truth).sum() / (p.sum() + truth.sum() + 1e-5)
        return {"dice": dice}

    return case.replace(loss=loss)


def shape_broadcast(case: Case) -> Case:
    """A prediction of shape (B, 1, D, H, W) minus a target of shape (B, D, H, W): every sample against every target."""
    meaning = case.extras["plan"].labels

    def loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        p = 1 - torch.softmax(model(batch["image"]), dim=1)[:, :1]
        truth = (batch["label"][:, 0] == meaning.classes[meaning.names[0]][0]).float()
        seen = (batch["label"] != meaning.ignore[0]).float()
        return {"squared": ((p - truth).square() * seen).mean()}

    return case.replace(loss=loss)


FAULTS: tuple[Fault, ...] = (
    Fault(
        name="variance-term",
        recipe="segmentation",
        postmortem="surface-segmentation",
        title="the variance term at the weight that the loss really had",
        apply=variance_term,
        expected_rule="",
        documented_diagnosis="placebo",
        claim="the variance loss overwhelms the other signals, or has a sign error",
        truth="its sign was right and its share of the gradient was 5 %: without effect",
    ),
    Fault(
        name="variance-term-dominates",
        recipe="segmentation",
        postmortem="surface-segmentation",
        title="the variance term at 200 times that weight",
        apply=variance_term_dominates,
        expected_rule="L302",
        documented_diagnosis="right",
        claim="the variance loss overwhelms the other signals",
        truth="true at this weight, which the run never had",
    ),
    Fault(
        name="weight-never-arrives",
        recipe="segmentation",
        postmortem="surface-segmentation",
        title="the variance term is taken of the thresholded mask, so that its weight never arrives",
        apply=weight_never_arrives,
        expected_rule="L303",
        documented_diagnosis="wrong",
        claim="the problem recurs although variance regularisation was added",
        truth="the configured weight had no effect on any parameter",
    ),
    Fault(
        name="loss-floor",
        recipe="segmentation",
        postmortem="surface-segmentation",
        title="the loss cannot reach zero at a perfect prediction",
        apply=loss_floor,
        expected_rule="L312",
        documented_diagnosis="wrong",
        claim="",
        truth="a perfect prediction costs more than a quarter: the curve looks stuck when it is not",
    ),
    Fault(
        name="shape-broadcast",
        recipe="segmentation",
        postmortem="surface-segmentation",
        title="a prediction of shape (B, 1, ...) meets a target of shape (B, ...)",
        apply=shape_broadcast,
        expected_rule="M208",
        documented_diagnosis="wrong",
        claim="",
        truth="each sample is compared with the targets of all others",
    ),
)
