"""The field's figures against slow loops, closed forms, other libraries and invariances."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage
from torchmetrics.functional.image import visual_information_fidelity

from traindx.recipes.fusion import metrics
from traindx.recipes.fusion.feature_information import feature_mutual_information
from traindx.recipes.fusion.pairs import figures


def picture(seed, size=24):
    smooth = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=(size, size)), 1.5)
    levels = np.rint(255 * (smooth - smooth.min()) / np.ptp(smooth))
    return torch.from_numpy(levels / 255)[None, None].float()


def fmi(*images, feature="pixel"):
    return feature_mutual_information(*(image[0, 0] for image in images), feature=feature)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 999), st.sampled_from(["pixel", "gradient"]))
def test_fmi_is_one_for_a_copy_symmetric_and_within_its_bounds(seed, feature):
    a, b, other = picture(seed), picture(seed + 1000), picture(seed + 2000)
    assert fmi(a, a, a, feature=feature) == pytest.approx(1)
    value = fmi(a, b, other, feature=feature)
    assert 0 <= value < 0.9
    assert value == pytest.approx(fmi(b, a, other, feature=feature))
    assert fmi(a, b, a, feature=feature) > value
    assert fmi(a, a, a * 0.5, feature="pixel") == pytest.approx(1)  # blind to brightness, as its page says


def test_fmi_of_one_window_by_hand():
    a, fused = np.random.default_rng(1).uniform(0.1, 1, (2, 3, 3))
    p, q = a.ravel() / a.sum(), fused.ravel() / fused.sum()
    correlation = np.corrcoef(p, q)[0, 1]
    cdf_p, cdf_q = np.cumsum(p), np.cumsum(q)
    bound = np.array([[min(x, y) if correlation >= 0 else max(x + y - 1, 0) for y in cdf_q] for x in cdf_p])
    mass = np.zeros((9, 9))
    for i, j in np.ndindex(9, 9):
        before = (bound[i - 1, j] if i else 0) + (bound[i, j - 1] if j else 0) - (bound[i - 1, j - 1] if i and j else 0)
        mass[i, j] = bound[i, j] - before
    places = np.arange(9)
    mean_p, mean_q = (places * p).sum(), (places * q).sum()
    reach = (np.outer(places - mean_p, places - mean_q) * mass).sum()
    reach /= math.sqrt((p * (places - mean_p) ** 2).sum() * (q * (places - mean_q) ** 2).sum())
    share = correlation / reach
    assert 0 < share < 1
    joint = share * mass + (1 - share) * np.outer(p, q)
    np.testing.assert_allclose(joint.sum(1), p, atol=1e-12)

    def entropy(values):
        kept = values[values > 1e-15]
        return -(kept * np.log(kept)).sum()

    expected = 2 * (entropy(p) + entropy(q) - entropy(joint.ravel())) / (entropy(p) + entropy(q))
    image, other = torch.from_numpy(a), torch.from_numpy(fused)
    assert feature_mutual_information(image, image, other) == pytest.approx(expected, rel=1e-6)


def test_ssim_as_published_against_a_loop_over_windows():
    x, y = picture(2), picture(3)

    def slow(data_range):
        values = []
        for row, column in np.ndindex(18, 18):
            p, q = (255 * v[0, 0, row : row + 7, column : column + 7].double().numpy().ravel() for v in (x, y))
            cov = np.cov(p, q)  # unbiased, as scikit-image's use_sample_covariance
            c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
            top = (2 * p.mean() * q.mean() + c1) * (2 * cov[0, 1] + c2)
            values.append(top / ((p.mean() ** 2 + q.mean() ** 2 + c1) * (cov[0, 0] + cov[1, 1] + c2)))
        return np.mean(values)

    assert figures.ssim_as_published(x, y) == pytest.approx(slow(2), rel=1e-6)
    assert figures.ssim_as_published(x, y, data_range=255) == pytest.approx(slow(255), rel=1e-6)


def test_the_wrong_range_of_the_published_ssim_punishes_one_grey_level_in_air():
    air = torch.zeros(1, 1, 16, 16)
    noise = torch.from_numpy(np.random.default_rng(0).integers(0, 2, (1, 1, 16, 16)) / 255).float()
    assert figures.ssim_as_published(noise, air, data_range=255) > 0.95
    assert figures.ssim_as_published(noise, air) < 0.05


def test_vif_is_that_of_torchmetrics():
    a, b = picture(4, 64), picture(5, 64)
    mixed = 0.6 * a + 0.4 * b
    expected = float(visual_information_fidelity(255 * mixed, 255 * a))
    assert metrics.vif(a[0, 0], mixed[0, 0]) == pytest.approx(expected, rel=1e-3)


@settings(max_examples=10, deadline=None)
@given(st.integers(0, 999))
def test_figures_of_turned_pictures_are_the_same_but_for_those_that_say_so(seed):
    images = [picture(seed + 1000 * number, 48) for number in range(3)]
    first, turned = figures.figures(*images), figures.figures(*(image.rot90(2, (-2, -1)) for image in images))
    for name in figures.NAMES:
        if name in ("EN", "SD", "SF", "MI", "MI_nats", "SCD", "Qabf", "SSIM", "SSIM_sum"):
            assert turned[name] == pytest.approx(first[name], rel=1e-3), name


def test_a_volume_is_the_mean_of_its_slices_and_mi_in_nats_is_smaller():
    parts = [[picture(seed + 10 * number, 48) for number in range(3)] for seed in (0, 1)]
    rows = [figures.figures(*images) for images in parts]
    stack = figures.figures(*(torch.cat(both) for both in zip(*parts, strict=True)))
    assert set(stack) == set(figures.NAMES)
    for name in figures.NAMES:
        assert stack[name] == pytest.approx((rows[0][name] + rows[1][name]) / 2)
    assert stack["MI_nats"] == pytest.approx(stack["MI"] * math.log(2))


def test_figures_are_those_of_the_saved_picture():
    a, b = picture(6, 48), picture(7, 48)
    fused = (a + b) / 2 + 0.001
    saved = (255 * fused).round() / 255
    assert figures.figures(a, b, fused) == figures.figures(a, b, saved)
