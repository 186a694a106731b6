from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from traindx.recipes.kit.estimate import mean_of
from traindx.recipes.segmentation.cleanup import Cleanup, better, clean
from traindx.recipes.segmentation.labels import IGNORE
from traindx.recipes.segmentation.metrics import score_case, score_class, summarise
from traindx.recipes.segmentation.threshold import THRESHOLDS, OverlapCounts


def cube(start: int, size: int = 6, edge: int = 20) -> np.ndarray:
    mask = np.zeros((edge,) * 3, bool)
    mask[start : start + size, 5 : 5 + size, 5 : 5 + size] = True
    return mask


def test_a_shifted_cube_has_closed_form_scores() -> None:
    scores = score_class(cube(5), cube(7), (1.0, 1.0, 1.0), 1.0)
    assert scores.dice == pytest.approx(2 * 4 * 36 / (2 * 216))
    assert scores.volume_error == 0
    assert scores.hd95_mm == pytest.approx(2.0)  # the leading and the trailing face are 2 voxels off
    far = score_class(cube(5), cube(7), (3.0, 1.0, 1.0), 1.0)
    assert far.hd95_mm == pytest.approx(6.0)
    assert far.reference_ml == pytest.approx(216 * 3 / 1000)
    assert far.dice == scores.dice


def test_surface_dice_counts_area_within_the_tolerance() -> None:
    assert score_class(cube(5), cube(6), (1.0, 1.0, 1.0), 1.0).nsd == pytest.approx(1.0)
    tight = score_class(cube(5), cube(6), (1.0, 1.0, 1.0), 0.5).nsd
    assert 0.4 < tight < 0.9  # the four side faces still agree, the two end faces do not


def test_an_absent_class_is_undefined_and_a_false_one_is_zero() -> None:
    nothing = np.zeros((8, 8, 8), bool)
    both = score_class(nothing, nothing, (1, 1, 1), 1.0)
    assert np.isnan([both.dice, both.nsd, both.hd95_mm, both.volume_error]).all()
    for pair in ((cube(1, 3, 8), nothing), (nothing, cube(1, 3, 8))):
        one = score_class(*pair, (1, 1, 1), 1.0)
        assert one.dice == one.nsd == 0.0
        assert np.isnan(one.hd95_mm)
    assert score_class(nothing, cube(1, 3, 8), (1, 1, 1), 1.0).volume_error == -1


def test_unlabelled_voxels_neither_gain_nor_lose() -> None:
    reference = cube(5).astype(np.int8)
    hidden = reference.copy()
    hidden[:, :, 10:] = IGNORE
    wrong = reference.copy()
    wrong[:, :, 10:] = 1 - wrong[:, :, 10:]
    shared = {"names": ["a"], "spacing": (1, 1, 1)}
    assert score_case("x", wrong, hidden, **shared).classes["a"].dice == 1.0
    assert score_case("x", wrong, hidden, **shared).classes["a"].hd95_mm == 0.0
    assert score_case("x", wrong, reference, **shared).classes["a"].dice < 1.0


def test_classes_that_were_not_looked_for_are_not_scored() -> None:
    label = np.zeros((6, 6, 6), np.int8)
    scores = score_case("x", label, label, names=["a", "b"], spacing=(1, 1, 1), labelled=[False, True])
    assert set(scores.classes) == {"b"}


@settings(max_examples=25, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=2, max_size=40), st.integers(0, 3))
def test_an_interval_encloses_its_mean(values: list[float], undefined: int) -> None:
    made = mean_of([*values, *[float("nan")] * undefined])
    assert made.low - 1e-9 <= made.mean <= made.high + 1e-9
    assert (made.cases, made.undefined) == (len(values), undefined)


def test_an_interval_is_as_wide_as_the_standard_error_says() -> None:
    values = np.random.default_rng(0).normal(0.8, 0.05, 400)
    made = mean_of(values.tolist())
    assert made.high - made.low == pytest.approx(2 * 1.96 * 0.05 / 20, rel=0.15)


def test_a_summary_has_a_row_for_each_class_and_the_mean() -> None:
    label = cube(5).astype(np.int8)
    rows = [score_case(str(k), np.roll(label, k, 0), label, names=["a", "b"], spacing=(1, 1, 1)) for k in range(3)]
    table = summarise(rows, ["a", "b"])
    assert table["a"]["dice"].cases == 3
    assert table["b"]["dice"].undefined == 3
    assert table["mean"]["dice"].mean == table["a"]["dice"].mean


def test_the_likeliest_class_is_kept_unless_a_threshold_is_clearly_better() -> None:
    label = torch.from_numpy(cube(5).astype(np.int8))
    sure = torch.stack([1 - label.float(), label.float()]) * 0.98 + 0.01
    counts = OverlapCounts(2)
    counts.add(sure, label, torch.tensor([True]))
    assert counts.best() == (1.0, None)
    timid = torch.stack([1 - 0.3 * label.float(), 0.3 * label.float()])  # never above .5: needs a lower threshold
    counts = OverlapCounts(2)
    counts.add(timid, label, torch.tensor([True]))
    dice, threshold = counts.best()
    assert dice == 1.0
    assert threshold is not None
    assert threshold <= 0.3
    assert threshold in THRESHOLDS


def test_specks_go_and_holes_are_filled() -> None:
    mask = cube(5).astype(np.uint8)
    mask[7, 7, 7] = 0
    mask[0, 0, 0] = 1
    mask[18, 1:3, 1:3] = 2
    kept = clean(mask, Cleanup(largest=True, fill_holes=True))
    assert np.array_equal(kept == 1, cube(5))
    assert (kept == 2).sum() == 4  # the largest component of the other class
    assert clean(mask, Cleanup(min_voxels=5))[18].sum() == 0
    assert np.array_equal(clean(mask, Cleanup()), mask)


def test_a_hole_that_holds_another_class_is_not_filled() -> None:
    mask = cube(5).astype(np.uint8)
    mask[7, 7, 7] = 2
    assert clean(mask, Cleanup(fill_holes=True))[7, 7, 7] == 2


@pytest.mark.parametrize(
    ("dice", "hd95", "wins"),
    [
        (0.902, 3.0, True),  # more overlap, whatever the surface
        (0.9005, 3.0, False),  # less than noise, and a worse surface
        (0.9, 1.5, True),  # a speck less at no cost
        (0.9, 1.99, False),  # hardly
        (0.8999, 0.1, False),  # a better surface never pays for overlap
        (0.95, float("nan"), True),
        (0.9, float("nan"), False),
    ],
)
def test_a_clean_up_earns_its_place(dice, hd95, wins):
    assert better(dice, hd95, 0.9, 2.0) is wins
