"""D127 in what the loss is given: boxes without a cell."""

from __future__ import annotations

import torch

from patients.region_case import CELLS, area, findings, region_case
from traindx.case import replace
from traindx.checks.loss.regions import box_regions
from traindx.finding import Standing

SLIVER = 0.3 / CELLS  # a box of 0.3 cells
PLACE = 2.6 / CELLS  # that holds no centre of a cell


def with_boxes(box, draw):
    case = region_case()
    batches = []
    for batch in case.train:
        boxes = [torch.tensor([[1.0, *box]]) for _ in batch["boxes"]]
        batches.append({**batch, "boxes": boxes, "drawn": torch.stack([draw(one) for one in boxes])})
    return replace(case, train=batches)


def by_centre(boxes):
    """Cells whose centre a box holds, as nearest-neighbour rasterising does."""
    centre = (torch.arange(CELLS) + 0.5) / CELLS
    out = torch.zeros(2, CELLS, CELLS)
    for concept, x0, y0, x1, y1 in boxes.tolist():
        out[int(concept)] += ((centre >= y0) & (centre < y1)).float()[:, None] * (
            (centre >= x0) & (centre < x1)
        ).float()
    return out


SMALL = (PLACE, PLACE, PLACE + SLIVER, PLACE + SLIVER)


def test_a_box_between_centres_vanishes():
    found = findings(with_boxes(SMALL, by_centre), box_regions, "D127")
    assert [one.standing for one in found] == [Standing.DEMONSTRATED]
    assert found[0].numbers["vanished"] == found[0].numbers["boxes"] == 48
    assert abs(found[0].numbers["cells wide"] - 0.3) < 0.01


def test_the_same_box_by_area_does_not():
    assert findings(with_boxes(SMALL, area), box_regions, "D127") == []


def test_a_small_box_that_holds_a_centre_is_drawn():
    holds = (2.4 / CELLS, 2.4 / CELLS, 2.7 / CELLS, 2.7 / CELLS)
    assert findings(with_boxes(holds, by_centre), box_regions, "D127") == []
