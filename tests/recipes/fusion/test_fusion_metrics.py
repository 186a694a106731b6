"""Fusion metrics against closed forms and independent implementations."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage, stats

from traindx.recipes.fusion import metrics as M
from traindx.recipes.fusion.baselines import BASELINES, laplacian_pyramid


def image(seed, size=64, smooth=2.0):
    noise = np.random.default_rng(seed).normal(size=(size, size))
    blurred = ndimage.gaussian_filter(noise, smooth)
    scaled = (blurred - blurred.min()) / (blurred.max() - blurred.min())
    return torch.from_numpy(scaled)


def test_entropy_is_that_of_scipy():
    picture = image(0)
    counts = np.bincount(np.rint(picture.numpy() * 255).astype(int).ravel(), minlength=256)
    assert M.entropy(picture) == pytest.approx(stats.entropy(counts, base=2))
    assert M.entropy(torch.full((8, 8), 0.3)) == 0
    assert M.entropy(torch.arange(256.0).reshape(16, 16) / 255) == pytest.approx(8)


def test_standard_deviation_is_that_of_numpy():
    assert M.standard_deviation(image(1)) == pytest.approx(255 * image(1).numpy().std())


def test_spatial_frequency_and_average_gradient_of_a_ramp():
    step = 3 / 255
    ramp = (torch.arange(20.0) * step).expand(10, 20)
    assert M.spatial_frequency(ramp) == pytest.approx(3, rel=1e-4)
    assert M.average_gradient(ramp) == pytest.approx(3 / math.sqrt(2), rel=1e-4)


def test_mutual_information_of_a_copy_is_its_entropy():
    a, b = image(2), image(3)
    flat = torch.full_like(a, 0.5)
    assert M.mutual_information(a, flat, a) == pytest.approx(M.entropy(a))
    expected = _information(a, a) + _information(b, a)
    assert M.mutual_information(a, b, a) == pytest.approx(expected)


def _information(x, y):
    joint, _, _ = np.histogram2d(
        *(np.rint(v.numpy() * 255).ravel() for v in (x, y)), bins=256, range=[[-0.5, 255.5]] * 2
    )
    p = joint / joint.sum()
    independent = p.sum(1, keepdims=True) * p.sum(0, keepdims=True)
    return float((p[p > 0] * np.log2(p[p > 0] / independent[p > 0])).sum())


def test_scd_of_the_sum_is_two():
    a, b = image(4), image(5)
    assert M.sum_of_correlations_of_differences(a, b, a + b) == pytest.approx(2)
    assert -2 <= M.sum_of_correlations_of_differences(a, b, image(6)) <= 2


def test_vif_is_one_for_a_copy_falls_with_noise_and_rises_with_contrast():
    a = image(7, 96)
    noise = torch.from_numpy(np.random.default_rng(1).normal(size=a.shape))
    values = [M.vif(a, (a + sigma * noise).clamp(0, 1)) for sigma in (0, 0.02, 0.05, 0.2)]
    assert values[0] == pytest.approx(1, abs=1e-6)
    assert values == sorted(values, reverse=True)
    assert M.vif(a * 0.5, a * 0.6) > 1  # enhanced contrast carries more information than the reference


def test_qabf_of_identical_images_is_its_own_maximum():
    a = image(8)
    best = 0.9994 / (1 + math.exp(-15 * 0.5)) * 0.9879 / (1 + math.exp(-22 * 0.2))
    assert M.edge_preservation(a, a, a) == pytest.approx(best, rel=1e-6)
    assert M.edge_preservation(a, a, torch.full_like(a, 0.5)) < 0.01


def test_qabf_against_a_loop_over_pixels():
    a, b, fused = image(9, 12), image(10, 12), image(11, 12)
    assert M.edge_preservation(a, b, fused) == pytest.approx(_slow_qabf(*(v.numpy() for v in (a, b, fused))), rel=1e-6)


def _slow_qabf(a, b, fused):
    def sobel(x):
        gx, gy = ndimage.sobel(x, axis=1, mode="nearest"), ndimage.sobel(x, axis=0, mode="nearest")
        return np.hypot(gx, gy), np.where(gx == 0, math.pi / 2, np.arctan(gy / np.where(gx == 0, 1, gx)))

    (ga, aa), (gb, ab), (gf, af) = sobel(a), sobel(b), sobel(fused)
    total = weight = 0.0
    for place in np.ndindex(a.shape):
        for strength, angle in ((ga, aa), (gb, ab)):
            low, high = sorted((strength[place], gf[place]))
            relative = low / high if high > 0 else 0.0
            aligned = 1 - abs(angle[place] - af[place]) / (math.pi / 2)
            kept = 0.9994 / (1 + math.exp(-15 * (relative - 0.5))) * 0.9879 / (1 + math.exp(-22 * (aligned - 0.8)))
            total += kept * strength[place]
            weight += strength[place]
    return total / weight


def test_a_batch_gives_the_mean_of_its_images():
    pictures = torch.stack([image(seed) for seed in (12, 13)])[:, None]
    assert M.entropy(pictures) == pytest.approx((M.entropy(pictures[0, 0]) + M.entropy(pictures[1, 0])) / 2)
    with pytest.raises(ValueError, match="expected"):
        M.entropy(torch.zeros(2, 3, 8, 8))


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000), st.integers(17, 40))
def test_the_pyramid_of_an_image_with_itself_is_that_image(seed, size):
    picture = image(seed, size)[None, None].float()
    torch.testing.assert_close(laplacian_pyramid(picture, picture), picture, atol=1e-5, rtol=0)


def test_baselines_are_what_they_are_called():
    ct, mr = (image(seed)[None, None].float() for seed in (20, 21))
    fused = {name: make(ct, mr) for name, make in BASELINES.items()}
    assert torch.equal(fused["copy of CT"], ct)
    assert torch.equal(fused["copy of MR"], mr)
    assert bool((fused["maximum"] >= fused["average"]).all())
    for result in fused.values():
        assert result.shape == ct.shape
        assert 0 <= float(result.min()) <= float(result.max()) <= 1
