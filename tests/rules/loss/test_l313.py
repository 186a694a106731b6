"""L313: boxes of one concept count one another as outside."""

from __future__ import annotations

import torch

from patients.region_case import area, findings, hinge, one_batch, region_case
from traindx.case import replace
from traindx.checks.loss.regions import box_regions
from traindx.finding import Standing


def one_by_one(maps, batch):
    """One hinge a box: everything but this box is outside."""
    terms = [
        hinge(maps[number : number + 1], area(box[None])[None], 2.0)
        for number, boxes in enumerate(batch["boxes"])
        for box in boxes
    ]
    return torch.stack(terms).mean()


def hottest_outside(maps, batch):
    masks = batch["drawn"]
    inside = (maps * masks).sum((2, 3)) / masks.sum((2, 3)).clamp_min(1e-6)
    outside = maps.masked_fill(masks > 0, -1e4).amax((2, 3))
    there = masks.sum((2, 3)) > 0
    return (torch.relu(2 - (inside - outside)) * there).sum() / there.sum()


def one_by_one_hottest(maps, batch):
    terms = [
        hottest_outside(maps[number : number + 1], {"drawn": area(box[None])[None]})
        for number, boxes in enumerate(batch["boxes"])
        for box in boxes
    ]
    return torch.stack(terms).mean()


def test_boxes_against_one_another_are_demonstrated():
    found = findings(region_case(term=one_by_one_hottest), box_regions, "L313")
    assert [one.standing for one in found] == [Standing.DEMONSTRATED]
    assert found[0].numbers["one box"] == 0
    # every box is as hot as the hottest outside: the hinge is its margin of 2, for every box of such an image
    assert 0 < found[0].numbers["several boxes"] <= 2


def test_the_union_of_the_boxes_is_silent():
    assert findings(region_case(term=hottest_outside), box_regions, "L313") == []


def test_a_mean_over_a_large_outside_hardly_notices_another_box():
    assert findings(region_case(term=one_by_one), box_regions, "L313") == []


def test_without_images_of_several_boxes_nothing_is_said():
    case = replace(region_case(term=one_by_one_hottest), train=[one_batch(seed, several=False) for seed in range(3)])
    assert findings(case, box_regions, "L313") == []


def test_a_term_that_no_box_can_satisfy_is_left_to_others():
    assert findings(region_case(term=lambda m, b: hottest_outside(m, b) + 5.0), box_regions, "L313") == []
