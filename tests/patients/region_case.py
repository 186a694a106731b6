"""A case of a few lines with boxes, a data path and upkeep, in which each part can be exchanged."""

from __future__ import annotations

import torch
from torch import nn
from torch.nn import functional as F

from traindx import Case, DataPath, Regions, TrainingState, rules
from traindx.checks.base import Check, CheckContext
from traindx.evidence import Evidence

CELLS = 8
CONCEPTS = ("dot", "bar")


class Maps(nn.Module):
    """Two maps of logits from a convolution or two."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Conv2d(1, 6, 3, padding=1)
        self.head = nn.Conv2d(6, len(CONCEPTS), 1)

    def forward(self, image):
        return self.head(F.relu(self.body(image)))


def area(boxes):
    """Share of each cell that boxes of each concept cover, by brute force on a fine grid."""
    fine = 16
    out = torch.zeros(len(CONCEPTS), CELLS * fine, CELLS * fine)
    scale = CELLS * fine
    for concept, x0, y0, x1, y1 in boxes.tolist():
        out[int(concept), round(y0 * scale) : round(y1 * scale), round(x0 * scale) : round(x1 * scale)] = 1
    return F.avg_pool2d(out[None], fine)[0]


def one_batch(seed: int, size: int = 12, *, several: bool = True):
    """Images with squares in boxes; every third one has two boxes of one concept."""
    generator = torch.Generator().manual_seed(seed)
    images = 0.1 * torch.randn(size, 1, CELLS, CELLS, generator=generator)
    boxes = []
    for number in range(size):
        # a rare concept (0) and a common one (1)
        concept = 0 if number % 4 == 0 else 1
        places = [(1, 1)] + ([(5, 5)] if several and number % 3 == 0 else [])
        mine = []
        for x, y in places:
            images[number, 0, y : y + 2, x : x + 2] += 1 + concept
            mine.append([concept, x / CELLS, y / CELLS, (x + 2) / CELLS, (y + 2) / CELLS])
        boxes.append(torch.tensor(mine))
    drawn = torch.stack([area(one) for one in boxes])
    label = (drawn.flatten(2).amax(2) > 0).float()
    return {"image": images, "boxes": boxes, "drawn": drawn, "label": label}


def hinge(maps, masks, margin):
    """Mean inside against mean outside, boxes of a concept together."""
    inside = (maps * masks).sum((2, 3)) / masks.sum((2, 3)).clamp_min(1e-6)
    out = masks <= 0
    outside = (maps * out).sum((2, 3)) / out.sum((2, 3)).clamp_min(1)
    there = masks.sum((2, 3)) > 0
    return (F.relu(margin - (inside - outside)) * there).sum() / there.sum().clamp_min(1)


def box_term(maps, batch, margin=2.0):
    return hinge(maps, batch["drawn"], margin)


def concept_term(maps, batch, pos_weight=1.0):
    return F.binary_cross_entropy_with_logits(
        maps.amax((2, 3)), batch["label"], pos_weight=torch.tensor(float(pos_weight))
    )


def straight(raw, boxes, split):
    """A path that flips image and boxes together in training."""
    image = raw.float() / 255
    if split == "train" and float(torch.rand(())) < 0.5:
        boxes = torch.stack([1 - boxes[:, 2], boxes[:, 1], 1 - boxes[:, 0], boxes[:, 3]], dim=1)
        image = image.flip(-1)
    return image, boxes


def raw_images(levels: int = 256):
    generator = torch.Generator().manual_seed(0)
    return torch.randint(0, levels, (4, 1, 64, 64), generator=generator).float()


def region_case(
    term=box_term, concept=concept_term, path=straight, raw=None, training_state=None, lr=1e-2, steps=200
) -> Case:
    batches = [one_batch(seed) for seed in range(4)]

    def loss(model, batch):
        maps = model(batch["image"])
        return {"concepts": concept(maps, batch), "boxes": term(maps, batch)}

    return Case(
        model=Maps,
        train=batches,
        loss=loss,
        target=lambda batch: batch["drawn"],
        predict=lambda model, batch: model(batch["image"]).sigmoid(),
        metrics={"mse": lambda p, t: (p - t).square().mean()},
        optimizer=lambda parameters: torch.optim.Adam(parameters, lr=lr),
        steps=steps,
        parts=(
            Regions(
                boxes=lambda batch: batch["boxes"], drawn=lambda batch: batch["drawn"], loss=term, concepts=CONCEPTS
            ),
            DataPath(apply=path, raw=raw_images() if raw is None else raw),
            training_state or TrainingState(),
        ),
    )


def findings(case: Case, check: Check, code: str):
    """Findings of one rule from the evidence of one check of a case."""
    evidence = Evidence(None)
    check.function(CheckContext(case, evidence))
    return rules.catalogue()[code].check(evidence)
