"""Losses against closed forms and loops."""

from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from traindx.recipes.concepts.loss import (
    background_loss,
    box_direction,
    box_loss,
    concept_loss,
    pooled,
    positive_weights,
    prototype_loss,
    separation_loss,
)


def masks(*places):
    out = torch.zeros(1, 1, 8, 8)
    for rows, columns in places:
        out[0, 0, rows, columns] = 1
    return out


ONE = masks((slice(1, 3), slice(1, 3)))
TWO = masks((slice(1, 3), slice(1, 3)), (slice(5, 7), slice(4, 7)))


def test_log_sum_exp_lies_between_mean_and_maximum_and_keeps_a_constant():
    maps = torch.randn(4, 3, 8, 8)
    value = pooled(maps)
    assert bool((value >= maps.mean((2, 3))).all())
    assert bool((value <= maps.amax((2, 3))).all())
    assert torch.allclose(pooled(torch.full((1, 1, 5, 5), 1.7)), torch.tensor([[1.7]]))
    assert torch.allclose(pooled(maps, sharpness=1e-3), maps.mean((2, 3)), atol=1e-2)
    assert torch.equal(pooled(maps, "mean"), maps.mean((2, 3)))


def test_positive_weights_are_negatives_over_positives_with_a_cap():
    labels = torch.tensor([[1.0, 1, 0, 0]] + [[0.0, 1, 0, float("nan")]] * 3 + [[0.0, 0, 0, 1]] + [[0.0, 0, 0, 0]] * 35)
    assert positive_weights(labels).tolist() == [10.0, pytest.approx(9.0), 1.0, 10.0]
    assert positive_weights(1 - labels)[0] == pytest.approx(0.1)


def test_unknown_labels_are_left_out():
    logits = torch.randn(5, 2, requires_grad=True)
    labels = torch.tensor([[1.0, float("nan")]] * 5)
    value = concept_loss(logits, labels, torch.ones(2))
    expected = F.binary_cross_entropy_with_logits(logits[:, 0], torch.ones(5))
    assert float(value.detach()) == pytest.approx(float(expected.detach()))
    value.backward()
    assert bool((logits.grad[:, 1] == 0).all())
    nothing = concept_loss(logits, torch.full((5, 2), float("nan")), torch.ones(2))
    assert float(nothing) == 0


def test_a_step_down_the_box_loss_raises_the_inside():
    found = box_direction(torch.zeros(1, 1, 8, 8), TWO)
    assert found["inside"] > 0 > found["outside"]
    assert found["right"] == 1


def test_the_direction_test_sees_an_inverted_loss(monkeypatch):
    from traindx.recipes.concepts import loss

    right = loss.box_loss
    monkeypatch.setattr(loss, "box_loss", lambda maps, m, margin: right(-maps, m, margin))
    found = loss.box_direction(torch.zeros(1, 1, 8, 8), TWO)
    assert found["right"] == 0


@pytest.mark.parametrize("boxes", [ONE, TWO], ids=["one box", "two boxes"])
def test_the_truth_costs_nothing_and_a_flat_map_the_margin(boxes):
    assert float(box_loss(20 * boxes - 10, boxes)) == 0
    assert float(box_loss(torch.zeros(1, 1, 8, 8), boxes, 2.0)) == pytest.approx(2.0, abs=1e-5)


def test_a_partly_covered_cell_does_not_forbid_the_truth():
    partial = ONE.clone()
    partial[0, 0, 1:3, 3] = 0.3
    assert float(box_loss(torch.where(partial > 0, 10.0, -10.0), partial)) == 0


def test_a_single_hot_cell_in_the_wrong_place_costs():
    maps = 4 * ONE
    assert float(box_loss(maps, ONE)) == 0
    maps[0, 0, 7, 7] = 8
    assert float(box_loss(maps, ONE)) > 1


def test_a_batch_without_boxes_costs_nothing_and_has_a_gradient():
    maps = torch.randn(2, 3, 8, 8, requires_grad=True)
    value = box_loss(maps, torch.zeros(2, 3, 8, 8))
    value.backward()
    assert float(value) == 0
    assert bool((maps.grad == 0).all())


def test_an_image_that_is_one_box_gives_no_nan():
    maps = torch.randn(1, 1, 8, 8, requires_grad=True)
    box_loss(maps, torch.ones(1, 1, 8, 8)).backward()
    assert bool(torch.isfinite(maps.grad).all())


def slow_contrast(embedding, owner, vectors, temperature):
    total, count = 0.0, 0
    for z, mine in zip(embedding, owner, strict=True):
        if not mine.any():
            continue
        scores = {
            (k, m): math.exp(float(z @ v) / temperature) for k, vs in enumerate(vectors) for m, v in enumerate(vs)
        }
        near = sum(value for (k, _), value in scores.items() if mine[k])
        total -= math.log(near / sum(scores.values()))
        count += 1
    return total / count


def test_the_contrast_with_several_positives_is_the_slow_one():
    generator = torch.Generator().manual_seed(0)
    embedding = F.normalize(torch.randn(9, 5, generator=generator), dim=1)
    vectors = F.normalize(torch.randn(3, 4, 5, generator=generator), dim=2)
    owner = torch.rand(9, 3, generator=generator) < 0.5
    owner[0] = False
    fast = float(prototype_loss(embedding, owner, vectors, 0.3))
    assert fast == pytest.approx(slow_contrast(embedding, owner, vectors, 0.3), rel=1e-5)


def test_a_batch_without_positives_moves_no_prototype():
    vectors = torch.randn(2, 3, 4, requires_grad=True)
    prototype_loss(torch.randn(5, 4), torch.zeros(5, 2, dtype=torch.bool), vectors).backward()
    assert bool((vectors.grad == 0).all())


def test_separation_asks_until_the_margin():
    same = F.normalize(torch.ones(2, 3, 4), dim=2)
    assert float(separation_loss(same, 0.3)) == pytest.approx(0.7, abs=1e-5)
    assert float(separation_loss(torch.eye(4)[None, :3], 0.3)) == 0
    assert float(separation_loss(torch.ones(2, 1, 4))) == 0


def test_background_is_kept_away_from_every_prototype_and_concepts_are_not():
    axis = torch.eye(4)
    owner = torch.tensor([[True], [False], [False]])
    vectors = axis[None, :2]
    near = axis[[0, 1, 3]].clone().requires_grad_()
    value = background_loss(near, owner, vectors)
    assert float(value.detach()) == pytest.approx(0.5)  # one of two bare patches lies on a prototype
    value.backward()
    assert bool((near.grad[0] == 0).all())
    assert float(background_loss(axis[:1], owner[:1], vectors)) == 0
