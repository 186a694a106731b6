"""Boxes on maps and on their way to the network, against brute force and geometry."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from traindx.recipes.concepts.boxes import NO_BOXES, covered, moved, union_area
from traindx.recipes.concepts.data import Dataset, EvalBatches, TrainBatches
from traindx.recipes.concepts.pipeline import IDENTITY, Augmentation, Draw, apply, drawn, normalise, warp

UNIT = st.floats(0.0, 0.95)


@st.composite
def box(draw):
    x0, y0 = draw(UNIT), draw(UNIT)
    width, height = draw(st.floats(1e-3, 1.0)), draw(st.floats(1e-3, 1.0))
    return np.array([[0, x0, y0, min(1.0, x0 + width), min(1.0, y0 + height)]], np.float32)


@given(box(), st.integers(1, 20))
@settings(max_examples=60, deadline=None)
def test_no_box_vanishes_and_its_area_is_exact(boxes, cells):
    share = covered(boxes, 1, (cells, cells))
    _, x0, y0, x1, y1 = boxes[0]
    assert share.max() > 0
    assert share.mean() == pytest.approx((x1 - x0) * (y1 - y0), rel=1e-3, abs=1e-6)


def test_covered_is_the_average_of_a_fine_drawing():
    boxes = np.array([[1, 3 / 64, 8 / 64, 21 / 64, 30 / 64], [0, 0.5, 0.5, 1, 1]], np.float32)
    fine = torch.zeros(2, 64, 64)
    fine[1, 8:30, 3:21] = 1
    fine[0, 32:, 32:] = 1
    assert np.allclose(covered(boxes, 2, (8, 8)), F.avg_pool2d(fine, 8).numpy(), atol=1e-6)


def test_the_union_counts_an_overlap_once():
    boxes = np.array([[0, 0, 0, 0.5, 1], [0, 0.25, 0, 0.75, 1]], np.float32)
    assert union_area(boxes, 0) == pytest.approx(0.75)
    assert union_area(boxes, 1) == 0


def test_a_flip_is_its_own_inverse_and_a_box_that_leaves_is_gone():
    flip = np.array([[-1.0, 0, 1], [0, 1, 0]])
    boxes = np.array([[0, 0.1, 0.2, 0.3, 0.4]], np.float32)
    assert np.allclose(moved(boxes, flip), [[0, 0.7, 0.2, 0.9, 0.4]])
    assert np.allclose(moved(moved(boxes, flip), flip), boxes)
    away = np.array([[1.0, 0, 2], [0, 1, 0]])
    assert len(moved(boxes, away)) == 0
    assert len(moved(NO_BOXES, flip)) == 0


@given(st.integers(0, 10_000), st.floats(0.25, 0.6), st.floats(0.25, 0.6))
@settings(max_examples=40, deadline=None)
def test_a_marker_stays_in_its_box_whatever_is_drawn(seed, x, y):
    size, side = 64, 8
    image = torch.zeros(1, size, size)
    top, left = round(y * size), round(x * size)
    image[:, top : top + side, left : left + side] = 1
    boxes = np.array([[0, left / size, top / size, (left + side) / size, (top + side) / size]], np.float32)
    draw = drawn(Augmentation(contrast=0, gamma=0), seed)
    there, new = apply(image, boxes, draw, size)
    ys, xs = torch.nonzero(there[0] > 0.5, as_tuple=True)
    assert len(xs) > 0
    _, x0, y0, x1, y1 = new[0] * size
    assert x0 - 1 <= xs.min()
    assert xs.max() + 1 <= x1 + 1
    assert y0 - 1 <= ys.min()
    assert ys.max() + 1 <= y1 + 1


def test_moving_the_image_alone_would_be_seen():
    """The test above can fail: the old box does not hold the marker of a flipped image."""
    image = torch.zeros(1, 64, 64)
    image[:, 20:28, 10:18] = 1
    boxes = np.array([[0, 10 / 64, 20 / 64, 18 / 64, 28 / 64]], np.float32)
    flipped, _ = apply(image, boxes, Draw(np.array([[-1.0, 0, 1], [0, 1, 0]])), 64)
    xs = torch.nonzero(flipped[0] > 0.5, as_tuple=True)[1]
    assert xs.min() >= 46


def test_identity_changes_nothing_and_downsampling_averages():
    image = torch.rand(1, 1, 64, 64)
    assert torch.equal(warp(image, [IDENTITY], 64), image)
    assert torch.allclose(warp(image, [IDENTITY], 32), F.avg_pool2d(image, 2))


def test_normalisation_does_not_depend_on_gain_and_offset():
    raw = torch.rand(1, 32, 32) * 100
    assert torch.allclose(normalise(raw), normalise(16 * raw + 1000), atol=1e-4)
    clipped = ((normalise(raw) == 0) | (normalise(raw) == 1)).float().mean()
    assert clipped < 0.02


@pytest.fixture(scope="module")
def dataset(radiographs):
    return Dataset(radiographs, size=64, map_size=(16, 16))


def test_ranks_share_an_epoch_without_overlap_and_in_the_same_order_every_time(dataset):
    whole = [b["index"].tolist() for b in TrainBatches(dataset, 8, None, seed=3)]
    again = [b["index"].tolist() for b in TrainBatches(dataset, 8, None, seed=3)]
    assert whole == again
    seen = []
    for rank in range(2):
        batches = TrainBatches(dataset, 8, None, seed=3, rank=rank, world=2)
        seen.append({i for b in batches for i in b["index"].tolist()})
    assert not seen[0] & seen[1]
    assert len(seen[0]) == len(seen[1]) == 40


def test_batches_do_not_follow_the_global_random_state(dataset):
    torch.manual_seed(0)
    np.random.seed(0)
    first = next(iter(TrainBatches(dataset, 8, Augmentation(), seed=1)))
    torch.manual_seed(99)
    np.random.seed(99)
    second = next(iter(TrainBatches(dataset, 8, Augmentation(), seed=1)))
    assert torch.equal(first["image"], second["image"])
    assert torch.equal(first["masks"], second["masks"])


def test_epochs_differ_and_validation_never_does(dataset):
    batches = TrainBatches(dataset, 8, Augmentation(), seed=1)
    first = next(iter(batches))
    batches.set_epoch(1)
    assert next(iter(batches))["index"].tolist() != first["index"].tolist()
    val = [b["image"] for b in EvalBatches(dataset, 16)]
    assert all(torch.equal(a, b["image"]) for a, b in zip(val, EvalBatches(dataset, 16), strict=True))
    assert torch.equal(val[0][0], dataset.batch([0])["image"][0])


def test_masks_of_a_batch_are_those_of_its_moved_boxes(dataset):
    batch = dataset.batch([0, 1, 2], Augmentation(), 5)
    for number, boxes in enumerate(batch["boxes"]):
        assert np.allclose(batch["masks"][number].numpy(), covered(boxes, 3, (16, 16)))
