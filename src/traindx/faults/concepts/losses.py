"""Faults of the losses: boxes without a margin, inverted, or against one another; positives that count less."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from traindx import Case
from traindx.faults.base import Fault
from traindx.recipes.concepts.boxes import covered
from traindx.recipes.concepts.case import rebuilt, setup_of
from traindx.recipes.concepts.data import Batch
from traindx.recipes.concepts.loss import box_contrast, box_loss, concept_loss, pooled

BoxTerm = Callable[[Tensor, Batch], Tensor]
FOCAL_ALPHA, FOCAL_GAMMA = 0.25, 2.0
"""Defaults of Lin et al., ICCV 2017, which were tuned for thousands of easy negatives an image."""


def no_margin(case: Case) -> Case:
    """The box loss of the document: content as soon as the inside is not darker than the outside."""
    return rebuilt(case, margin=0.0)


def inverted(case: Case) -> Case:
    """The box loss that the document believed it had: it lowers activation inside boxes."""
    margin = setup_of(case).margin
    return with_box_term(case, lambda maps, batch: box_loss(-maps, batch["masks"], margin))


def boxes_against_each_other(case: Case) -> Case:
    """One hinge a box, in which everything but this box is outside: boxes of one concept penalise each other."""
    margin = setup_of(case).margin

    def term(maps: Tensor, batch: Batch) -> Tensor:
        concepts, size = maps.shape[1], (maps.shape[2], maps.shape[3])
        hinges = []
        for number, boxes in enumerate(batch["boxes"]):
            for box in boxes:
                mask = torch.from_numpy(covered(box[None], concepts, size))[None].to(maps)
                contrast, there = box_contrast(maps[number : number + 1], mask)
                hinges.append(F.relu(margin - contrast[there]).sum())
        return torch.stack(hinges).mean() if hinges else maps.sum() * 0.0

    return with_box_term(case, term)


def focal_alpha(case: Case) -> Case:
    """A focal loss with alpha .25, which gives a positive a third of the weight of a negative."""
    setup = setup_of(case)

    def loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        maps = model(batch["image"])
        logits, labels = pooled(maps, setup.architecture.pooling), batch["label"]
        each = F.binary_cross_entropy_with_logits(logits, labels, reduction="none")
        probability = logits.sigmoid()
        hit = torch.where(labels == 1, probability, 1 - probability)
        weight = torch.where(labels == 1, FOCAL_ALPHA, 1 - FOCAL_ALPHA)
        focal = (weight * (1 - hit) ** FOCAL_GAMMA * each).mean()
        return {"concepts": focal, "boxes": setup.box_weight * box_loss(maps, batch["masks"], setup.margin)}

    return case.replace(loss=loss)


def with_box_term(case: Case, term: BoxTerm) -> Case:
    """The case with another box term, in the loss and where it is examined."""
    setup = setup_of(case)

    def loss(model: nn.Module, batch: Batch) -> dict[str, Tensor]:
        maps = model(batch["image"])
        logits = pooled(maps, setup.architecture.pooling)
        return {
            "concepts": concept_loss(logits, batch["label"], setup.weights.to(maps)),
            "boxes": setup.box_weight * term(maps, batch),
        }

    return case.replace(loss=loss, regions__loss=term)


FAULTS: tuple[Fault, ...] = (
    Fault(
        name="box-loss-no-margin",
        recipe="concepts",
        postmortem="concepts-and-prototypes",
        title="the box loss asks for no margin between inside and outside",
        apply=no_margin,
        documented_diagnosis="placebo",
        claim="the box loss is backwards and penalises activation inside boxes: AUC .50 to .65-.75 when it is turned",
        truth="its direction is right, and turning it harms; it only stops asking too early",
    ),
    Fault(
        name="box-loss-inverted",
        recipe="concepts",
        postmortem="concepts-and-prototypes",
        title="the box loss lowers activation inside boxes",
        apply=inverted,
        expected_rule="L301",
        documented_diagnosis="wrong",
        claim="this is what the document took its box loss for",
        truth="what it would look like, had it been so",
    ),
    Fault(
        name="boxes-penalise-each-other",
        recipe="concepts",
        postmortem="concepts-and-prototypes",
        title="each box counts the other boxes of its concept as outside",
        apply=boxes_against_each_other,
        expected_rule="L313",
        documented_diagnosis="wrong",
        claim="",
        truth="images with several lesions can never satisfy the loss",
    ),
    Fault(
        name="focal-alpha",
        recipe="concepts",
        postmortem="concepts-and-prototypes",
        title="a focal loss with alpha .25, where positives are the rarer class",
        apply=focal_alpha,
        expected_rule="L307",
        documented_diagnosis="wrong",
        claim="",
        truth="a positive weighs .33 of a negative",
    ),
)
