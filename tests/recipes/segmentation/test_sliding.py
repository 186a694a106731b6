from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from traindx.errors import CaseError
from traindx.recipes.segmentation.sliding import flip_sets, predict_probabilities, weight_sum

SIZES = st.tuples(*[st.integers(1, 45)] * 3)
PATCHES = st.tuples(*[st.sampled_from([4, 7, 8, 16, 21])] * 3)


class Pointwise(nn.Module):
    """Logits that depend on the voxel alone: windows and flips must not change them."""

    def __init__(self) -> None:
        super().__init__()
        self.scale = nn.Parameter(torch.tensor([0.0, 1.0, -2.0]).view(1, 3, 1, 1, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.scale * x


@settings(max_examples=60, deadline=None)
@given(SIZES, PATCHES, st.sampled_from([0.0, 0.25, 0.5, 0.75]))
def test_every_voxel_has_a_positive_weight(
    size: tuple[int, int, int], patch: tuple[int, int, int], overlap: float
) -> None:
    total = weight_sum(size, patch, overlap)
    assert total.shape == size
    assert float(total.min()) > 1e-4


@settings(max_examples=25, deadline=None)
@given(SIZES, PATCHES, st.sampled_from([(), (0,), (0, 2)]), st.integers(0, 99))
def test_windows_and_flips_reproduce_a_pointwise_network_exactly(
    size: tuple[int, int, int], patch: tuple[int, int, int], flips: tuple[int, ...], seed: int
) -> None:
    image = torch.randn(1, 1, *size, generator=torch.Generator().manual_seed(seed))
    network = Pointwise()
    p = predict_probabilities(network, image, patch, flips=flips)
    assert torch.allclose(p, torch.softmax(network(image).detach(), dim=1), atol=1e-5)
    assert torch.allclose(p.sum(1), torch.ones(1, *size), atol=1e-5)


def test_a_shifted_window_grid_would_be_noticed() -> None:
    """The weights counted here are the weights used: a network that reports its window gives their weighted mean."""

    class Corner(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.w = nn.Parameter(torch.zeros(()))

        def forward(self, x: Tensor) -> Tensor:
            lead = x[:, :, :1, :1, :1].expand(-1, -1, *x.shape[2:])  # first voxel of the window
            return torch.cat([lead, -lead], dim=1) + self.w

    image = torch.arange(20.0).view(1, 1, 20, 1, 1).expand(1, 1, 20, 8, 8) / 20
    p = predict_probabilities(Corner(), image, (8, 8, 8))
    starts = (0, 4, 8, 12)  # half overlap of windows of 8 in 20
    from monai.data.utils import compute_importance_map

    weight = compute_importance_map((8, 8, 8), mode="gaussian", sigma_scale=0.125)[:, 4, 4]
    top, bottom = torch.zeros(20), torch.zeros(20)
    for start in starts:
        value = torch.softmax(torch.tensor([start / 20, -start / 20]), 0)[0]
        top[start : start + 8] += value * weight
        bottom[start : start + 8] += weight
    assert torch.allclose(p[0, 0, :, 4, 4], top / bottom, atol=1e-5)


def test_flips_cover_every_combination_once() -> None:
    assert len(set(flip_sets((0, 1, 2)))) == 8
    assert flip_sets(())[0] == ()


def test_an_ensemble_is_the_mean_of_its_members() -> None:
    a, b = Pointwise(), Pointwise()
    with torch.no_grad():
        b.scale.mul_(-3)
    image = torch.randn(1, 1, 9, 9, 9)
    both = predict_probabilities([a, b], image, (8, 8, 8))
    alone = [predict_probabilities(n, image, (8, 8, 8)) for n in (a, b)]
    assert torch.allclose(both, (alone[0] + alone[1]) / 2, atol=1e-6)


def test_the_mode_of_the_network_is_left_as_it_was() -> None:
    network = Pointwise().train()
    predict_probabilities(network, torch.zeros(1, 1, 8, 8, 8), (8, 8, 8))
    assert network.training


def test_nan_is_reported_and_not_segmented() -> None:
    network = Pointwise()
    with torch.no_grad():
        network.scale[0, 1] = torch.nan
    with pytest.raises(CaseError, match="not finite"):
        predict_probabilities(network, torch.ones(1, 1, 8, 8, 8), (8, 8, 8))
