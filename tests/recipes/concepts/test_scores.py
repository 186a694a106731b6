"""Metrics against pair counting, hand-made maps and geometry."""

from __future__ import annotations

import numpy as np
import pytest

from traindx.recipes.concepts.metrics import (
    auroc,
    average_precision,
    best_threshold,
    chance,
    f1,
    f1_macro,
    mean_over,
    overlap,
    pointing,
    purity,
)
from traindx.recipes.kit.estimate import by_patient


def test_auroc_is_the_share_of_ordered_pairs():
    generator = np.random.default_rng(0)
    scores, labels = generator.normal(size=60), (generator.random(60) < 0.3).astype(float)
    scores[:10] = scores[10:20]  # ties count half
    pairs = [(p > n) + 0.5 * (p == n) for p in scores[labels == 1] for n in scores[labels == 0]]
    assert auroc(scores, labels) == pytest.approx(np.mean(pairs))
    assert auroc(100 * scores, labels) == pytest.approx(np.mean(pairs))  # large logits do not merge


def test_average_precision_is_the_mean_precision_at_positives():
    scores, labels = np.array([0.9, 0.8, 0.7, 0.6, 0.5]), np.array([1.0, 0, 1, 0, 1])
    assert average_precision(scores, labels) == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)


def test_what_is_not_defined_is_nan_and_left_out():
    scores = np.array([[0.1, 0.9], [0.8, 0.2], [0.3, 0.4]])
    labels = np.array([[0.0, 1], [1, 1], [np.nan, 1]])
    assert np.isnan(auroc(scores[:, 1], labels[:, 1]))
    assert mean_over(auroc, scores, labels) == 1.0
    assert np.isnan(f1(np.zeros(3, bool), np.zeros(3)))


def test_the_best_threshold_is_found_by_trying_all():
    generator = np.random.default_rng(1)
    scores, labels = generator.random(50), (generator.random(50) < 0.4).astype(float)
    best = max(f1(scores >= t, labels) for t in np.linspace(0, 1, 2001))
    assert f1(scores >= best_threshold(scores, labels), labels) == pytest.approx(best)
    assert f1_macro(scores[:, None], labels[:, None], [best_threshold(scores, labels)]) == pytest.approx(best)


BOX = [np.array([[0, 0.25, 0.25, 0.5, 0.5]], np.float32)]


def maps_at(row, column):
    maps = np.zeros((1, 2, 8, 8))
    maps[0, 0, row, column] = 1
    return maps


def test_pointing_counts_the_hottest_cell_only():
    assert pointing(maps_at(2, 3), BOX)[0, 0] == 1
    assert pointing(maps_at(2, 4), BOX)[0, 0] == 0
    assert np.isnan(pointing(maps_at(2, 3), BOX)[0, 1])


def test_a_flat_map_points_by_chance():
    flat = np.zeros((1, 2, 8, 8))
    assert pointing(flat, BOX)[0, 0] == pytest.approx(4 / 64)
    assert chance(BOX, 2)[0, 0] == pytest.approx(0.25**2)


def test_overlap_of_the_box_itself_is_one_and_elsewhere_nought():
    maps = np.zeros((1, 2, 8, 8))
    maps[0, 0, 2:4, 2:4] = 5
    assert overlap(maps, BOX)[0, 0] == 1
    assert overlap(-maps, BOX)[0, 0] == 0
    half = np.zeros((1, 2, 8, 8))
    half[0, 0, 2:4, 3:5] = 5
    assert overlap(half, BOX)[0, 0] == pytest.approx(2 / 6)


def test_purity_looks_at_the_nearest_patches():
    owner = np.array([[True], [True], [False], [False]])
    similarity = np.array([0.9, 0.1, 0.8, 0.2])[:, None, None]
    assert purity(owner, similarity, nearest=2)[0, 0] == 0.5
    assert purity(owner, similarity, nearest=1)[0, 0] == 1


def test_the_bootstrap_draws_patients_and_not_images():
    """100 images of two patients hold two facts: the interval spans both."""
    values = np.r_[np.zeros(50), np.ones(50)]
    patients = ["a"] * 50 + ["b"] * 50
    of_patients = by_patient(lambda i: float(values[i].mean()), patients, resamples=200)
    of_images = by_patient(lambda i: float(values[i].mean()), [str(i) for i in range(100)], resamples=200)
    assert (of_patients.low, of_patients.high) == (0, 1)
    assert of_images.high - of_images.low < 0.3
    assert of_patients.mean == of_images.mean == 0.5
