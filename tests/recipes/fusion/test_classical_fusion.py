"""Classical fusion against closed forms, slow loops and invariances."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from traindx.recipes.fusion import classical
from traindx.recipes.fusion.pairs.methods import METHODS


def picture(seed, height=24, width=None):
    noise = np.random.default_rng(seed).normal(size=(height, width or height))
    smooth = ndimage.gaussian_filter(noise, 1.5)
    return torch.from_numpy((smooth - smooth.min()) / np.ptp(smooth))[None, None].float()


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 999), st.integers(17, 40), st.integers(17, 40), st.sampled_from(sorted(METHODS)))
def test_an_image_fused_with_itself_is_itself(seed, height, width, name):
    image = picture(seed, height, width)
    torch.testing.assert_close(METHODS[name](image, image), image, atol=1e-5, rtol=0)


@settings(max_examples=15, deadline=None)
@given(st.integers(0, 999), st.sampled_from(sorted(METHODS)))
def test_the_order_of_the_images_does_not_matter_and_the_range_is_kept(seed, name):
    a, b = picture(seed), picture(seed + 1000)
    fused = METHODS[name](a, b)
    torch.testing.assert_close(fused, METHODS[name](b, a), atol=1e-5, rtol=0)
    assert 0 <= float(fused.min()) <= float(fused.max()) <= 1


@pytest.mark.parametrize("name", sorted(METHODS))
def test_slices_of_a_batch_are_fused_each_for_itself(name):
    a, b = torch.cat([picture(0), picture(1)]), torch.cat([picture(2), picture(3)])
    together = METHODS[name](a, b)
    single = torch.cat([METHODS[name](a[i : i + 1], b[i : i + 1]) for i in range(2)])
    torch.testing.assert_close(together, single, atol=1e-6, rtol=0)


def test_haar_is_orthonormal_and_inverted():
    image = picture(4)
    low, details = classical.haar(image)
    assert float(low.square().sum() + details.square().sum()) == pytest.approx(float(image.square().sum()), rel=1e-5)
    torch.testing.assert_close(classical.inverse_haar(low, details), image, atol=1e-6, rtol=0)


def test_haar_of_a_small_image_by_hand():
    low, details = classical.haar(torch.tensor([[[[1.0, 2.0], [3.0, 4.0]]]]))
    assert low.item() == 5.0
    assert details.flatten().tolist() == [-1.0, -2.0, 0.0]


def test_wavelet_keeps_the_stronger_edge():
    edge, flat = torch.zeros(1, 1, 16, 16), torch.full((1, 1, 16, 16), 0.5)
    edge[..., 7:] = 1.0
    fused = classical.wavelet(edge, flat, levels=1)
    # one level: details of the edge, which lies within a pair of columns, and the mean of both local averages
    assert float(fused[0, 0, 4, 7] - fused[0, 0, 4, 6]) == pytest.approx(1.0)
    assert float(fused[0, 0, 4, 0]) == pytest.approx(0.25)


def test_box_mean_counts_only_what_is_inside():
    image = picture(5, 9, 11)[0, 0].double()
    found = classical.box_mean(image[None, None], 3)[0, 0]
    for row, column in np.ndindex(9, 11):
        window = image[max(0, row - 3) : row + 4, max(0, column - 3) : column + 4]
        assert float(found[row, column]) == pytest.approx(float(window.mean()))


def test_guided_filter_against_a_regression_in_every_window():
    guide, image, radius, epsilon = picture(6, 10)[0, 0].double(), picture(7, 10)[0, 0].double(), 2, 0.01
    slopes, offsets = np.zeros((10, 10)), np.zeros((10, 10))

    def window(values, row, column):
        return values[max(0, row - radius) : row + radius + 1, max(0, column - radius) : column + radius + 1]

    for place in np.ndindex(10, 10):
        x, y = (window(values.numpy(), *place).ravel() for values in (guide, image))
        # ridge regression with penalty epsilon * n on the slope, solved as a linear system (He et al., equation 4)
        n = len(x)
        system = np.array([[(x * x).sum() + epsilon * n, x.sum()], [x.sum(), n]])
        slopes[place], offsets[place] = np.linalg.solve(system, [(x * y).sum(), y.sum()])
    expected = np.array(
        [
            window(slopes, *place).mean() * float(guide[place]) + window(offsets, *place).mean()
            for place in np.ndindex(10, 10)
        ]
    ).reshape(10, 10)
    found = classical.guided_filter(image[None, None], guide[None, None], radius, epsilon)
    np.testing.assert_allclose(found[0, 0].numpy(), expected, atol=1e-10)


def test_guided_filter_fusion_takes_each_texture_from_its_image():
    # texture in one half of each image, and flat where the other one has it
    texture = picture(8, 96)
    half = torch.zeros_like(texture)
    half[..., :48] = 1
    a, b = texture * half + 0.5 * (1 - half), 0.5 * half + texture * (1 - half)
    fused = classical.guided_filter_fusion(a, b)
    inner = (fused - texture)[..., 8:40].abs().mean() + (fused - texture)[..., 56:88].abs().mean()
    averaged = (((a + b) / 2 - texture)[..., 8:40]).abs().mean() + (((a + b) / 2 - texture)[..., 56:88]).abs().mean()
    assert float(inner) < 0.5 * float(averaged)
