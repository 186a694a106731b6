"""Faults of the loss: terms that dominate, never arrive, cannot reach zero, or broadcast; and one that is innocent."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from traindx import Case
from traindx.faults.base import Fault
from traindx.recipes.segmentation.case import Batch, encode
from traindx.recipes.segmentation.labels import IGNORE


def _with_variance(case: Case, weight: float) -> Case:
    """Adds ``-weight * Var(p(foreground))``, the term that was meant to keep the output from collapsing."""

    def loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        captured: list[Tensor] = []
        handle = model.register_forward_hook(lambda _, __, output: captured.append(output))
        try:
            terms = case.loss_terms(model, batch)
        finally:
            handle.remove()
        foreground = 1 - torch.softmax(captured[-1], dim=1)[:, 0]
        return {**terms, "variance": -weight * foreground.flatten(1).var(dim=1, unbiased=False).mean()}

    return case.but(loss=loss)


def variance_term(case: Case) -> Case:
    """The variance term at the weight that the criterion really had: its default of .1, about 5 % of the gradient."""
    return _with_variance(case, 0.1)


def variance_term_dominates(case: Case) -> Case:
    """The variance term at 200 times that weight: half of the volume at 1 and half at 0 is now the best output."""
    return _with_variance(case, 20.0)


def weight_never_arrives(case: Case) -> Case:
    """The configured weight of the variance term is not passed on; the criterion multiplies it by its default of 0."""
    return _with_variance(case, 0.0)


def loss_floor(case: Case) -> Case:
    """Dice plus focal with a smoothing so large that a perfect prediction still costs more than a quarter."""
    meaning = case.extras["plan"].labels

    def loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        label = encode(batch["label"], meaning)
        seen = label != IGNORE
        p = torch.softmax(model(batch["image"]), dim=1)
        truth = nn.functional.one_hot(label[:, 0].clamp(min=0).long(), p.shape[1]).movedim(-1, 1)
        # label smoothing of .3 in the target of an overlap: the product never reaches the sum
        soft = (0.7 * truth + 0.3 / p.shape[1]) * seen
        p = p * seen
        dice = 1 - 2 * (p * soft).sum() / (p.sum() + soft.sum() + 1e-5)
        return {"dice": dice, "ce": -(soft * p.clamp(min=1e-6).log()).sum() / seen.sum().clamp(min=1)}

    return case.but(loss=loss)


def shape_broadcast(case: Case) -> Case:
    """Per-sample weights of shape (B, 1) times per-sample losses of shape (B): a (B, B) table, averaged."""
    meaning = case.extras["plan"].labels

    def loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        label = encode(batch["label"], meaning)
        seen = (label != IGNORE).float()
        p = (1 - torch.softmax(model(batch["image"]), dim=1)[:, :1]) * seen
        truth = (label > 0).float()
        overlap = (p * truth).flatten(1).sum(dim=1, keepdim=True)  # (B, 1)
        size = p.flatten(1).sum(dim=1) + truth.flatten(1).sum(dim=1)  # (B,)
        return {"dice": (1 - 2 * overlap / (size + 1e-5)).mean()}

    return case.but(loss=loss)


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
        truth="its sign was right and its share of the gradient was 5 %: innocent",
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
        title="the configured weight of the variance term never reaches the loss",
        apply=weight_never_arrives,
        expected_rule="L303",
        documented_diagnosis="wrong",
        claim="the problem recurs although variance regularisation was added",
        truth="the configured weight was never passed on",
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
        title="a loss of shape (B, 1) meets one of shape (B)",
        apply=shape_broadcast,
        expected_rule="M208",
        documented_diagnosis="wrong",
        claim="",
        truth="each sample is compared with the sizes of all others",
    ),
)
