"""What the benchmarks of X-ray to CT measure with: peers that see what they should, the linear limit, calibration."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn import functional as F

sys.path.insert(0, str(Path(__file__).parents[3] / "benchmarks"))
from peers.xray2ct import X2CT, ConditionedDiffusion, LiftingUNet
from seeds_and_patients import interval
from xray2ct_calibration import Stochastic, calibration
from xray2ct_limits import FOLDS, STRENGTHS, Ridge, low_band, projected

from traindx.recipes.kit.diffusion import Process
from traindx.recipes.kit.estimate import mean_of
from traindx.recipes.xray2ct.geometry import VIEWS, ConeGeometry
from traindx.recipes.xray2ct.radiograph import line_integral

GEOMETRY = ConeGeometry((32, 32, 32), (12.0, 18.0, 18.0), (32, 32))


@pytest.mark.parametrize("made", [LiftingUNet, X2CT])
def test_a_peer_makes_a_volume_that_depends_on_both_views(made: type) -> None:
    torch.manual_seed(0)
    network = made(GEOMETRY).eval()
    views = {view: torch.randn(2, 1, 32, 32) for view in VIEWS}
    with torch.no_grad():
        volume = network(views)
        assert volume.shape == (2, 1, 32, 32, 32)
        for view in VIEWS:
            other = network({**views, view: torch.randn(2, 1, 32, 32)})
            assert not torch.allclose(volume, other, atol=1e-4), view


@pytest.mark.parametrize(("view", "along"), [("frontal", 2), ("lateral", 1)])
def test_pixels_line_up_with_voxels_where_x2ct_repeats_them(view: str, along: int) -> None:
    """A rod along the rays, off the centre: the cropped image is brightest in the rod's own row and column."""
    place = [9, 16, 16]
    place[along] = 22
    mu = torch.zeros(1, 1, 32, 32, 32)
    rod: list[object] = [0, 0, *place]
    rod[2 + 3 - along] = slice(14, 18)  # along the rays, near the central plane
    mu[tuple(rod)] = 0.02  # type: ignore[index]
    network = X2CT(GEOMETRY)
    image = line_integral(mu, view, GEOMETRY)
    cropped = F.grid_sample(image, network.get_buffer(f"plane_{view}")[None], align_corners=False)[0, 0]
    assert divmod(int(cropped.argmax()), 32) == (9, 22)


def test_x2ct_repeats_a_view_along_the_axis_it_integrates_over() -> None:
    network = X2CT(GEOMETRY)
    for view, axis in (("frontal", 3), ("lateral", 4)):
        branch = network.branches[view]
        features = [torch.randn(1, 12, 32, 32)]
        repeated = branch._expanded(features, 0)
        assert repeated.shape[2:] == (32, 32, 32)
        assert torch.equal(repeated.diff(dim=axis), torch.zeros_like(repeated.diff(dim=axis)))
        assert repeated.std() > 0


def test_the_conditioned_diffusion_learns_and_draws_at_the_volume_s_shape() -> None:
    torch.manual_seed(0)
    geometry = ConeGeometry((16, 16, 16), (24.0, 36.0, 36.0), (16, 16))
    network = ConditionedDiffusion(geometry, Process(sampling_steps=2))
    views = {view: torch.randn(2, 1, 16, 16) for view in VIEWS}
    network.loss(torch.randn(2, 1, 16, 16, 16), views).backward()
    assert all(weight.grad is not None for weight in network.parameters())
    assert network(views).shape == (2, 1, 16, 16, 16)


def test_the_interval_over_seeds_and_patients_is_the_usual_one_for_one_seed() -> None:
    values = np.random.default_rng(0).normal(size=17)
    mean, low, high = interval(values[None])
    known = mean_of(list(values))
    assert mean == pytest.approx(known.mean)
    assert (low, high) == pytest.approx((known.low, known.high), abs=0.05)
    apart = np.stack([values, values + 10])
    _, low, high = interval(apart)
    assert high - low > 9  # two seeds that differ by 10 say nothing better


def test_ridge_by_inner_products_is_the_ridge_of_the_textbook() -> None:
    rng = np.random.default_rng(0)
    x, y, new = rng.normal(size=(20, 7)), rng.normal(size=(20, 5)), rng.normal(size=(3, 7))
    ridge = Ridge(torch.tensor(x), torch.tensor(y))
    centred = x - x.mean(0)
    damping = 0.1 * np.trace(centred @ centred.T) / 20
    weights = np.linalg.solve(centred.T @ centred + damping * np.eye(7), centred.T @ (y - y.mean(0)))
    expected = y.mean(0) + (new - x.mean(0)) @ weights
    assert ridge.predict(torch.tensor(new), 0.1).numpy() == pytest.approx(expected, abs=1e-5)


def test_cross_validation_leaves_a_group_out_and_scores_only_what_counts() -> None:
    rng = np.random.default_rng(1)
    x, y = torch.tensor(rng.normal(size=(20, 6))), torch.tensor(rng.normal(size=(20, 4)))
    groups, scored = torch.arange(20) % 10, torch.arange(20) < 10
    ridge = Ridge(x, y)
    expected = 0.0
    for fold in range(FOLDS):
        inside, held = groups % FOLDS != fold, (groups % FOLDS == fold) & scored
        kernel = ridge.inputs[inside] @ ridge.inputs[inside].T
        damping = STRENGTHS[3] * kernel.diagonal().mean() * torch.eye(len(kernel), dtype=torch.float64)
        predicted = ridge.inputs[held] @ ridge.inputs[inside].T @ torch.linalg.inv(kernel + damping)
        expected += float((predicted @ ridge.outputs[inside] - ridge.outputs[held]).square().sum())
    assert ridge.cross_validated(groups, scored)[STRENGTHS[3]] == pytest.approx(expected / 10 / 4)


def test_the_oracles_keep_what_they_say() -> None:
    axis = torch.arange(16) / 16
    slow, fast = torch.sin(2 * torch.pi * 2 * axis), torch.sin(2 * torch.pi * 6 * axis)  # 0.25 and 0.75 of Nyquist
    volume = (slow + fast).expand(1, 1, 16, 16, 16)
    assert torch.allclose(low_band(volume, 0.5), slow.expand_as(volume), atol=1e-5)
    span = torch.randn(5, 100)
    inside = (torch.tensor([[0.5, 0.2, 0.1, 0.1, 0.1]]) @ span).float()
    assert torch.allclose(projected(inside, span), inside, atol=1e-3)
    assert not torch.allclose(projected(torch.randn(1, 100), span), torch.randn(1, 100), atol=0.1)


def test_draws_of_the_truth_s_own_kind_are_called_calibrated_and_narrow_ones_are_not() -> None:
    torch.manual_seed(0)
    scale = 20 + 60 * torch.rand(16, 16, 16)
    truth = scale * torch.randn(16, 16, 16)
    draws = scale * torch.randn(9, 16, 16, 16)
    found = calibration(draws, truth)
    assert found["covered body"] == pytest.approx(0.8, abs=0.03)
    assert found["spread / error"] == pytest.approx(1, abs=0.05)
    assert found["rank"] > 0.2
    narrow = calibration(draws / 4, truth)
    assert narrow["covered body"] < 0.5
    assert narrow["spread / error"] < 0.4


def test_without_fresh_noise_the_stochastic_sampler_is_the_recipe_s() -> None:
    noise = torch.randn(2, 1, 4, 4, 4)

    def denoise(x: torch.Tensor, _: torch.Tensor) -> torch.Tensor:
        return 0.3 * x

    plain = Process(sampling_steps=4).draw(denoise, noise)
    for same in (Stochastic(sampling_steps=4), Stochastic(sampling_steps=4, levels=(1000, 750, 500, 250))):
        assert torch.allclose(same.draw(denoise, noise), plain, atol=1e-6)
    assert not torch.allclose(Stochastic(sampling_steps=4, eta=1.0).draw(denoise, noise), plain)


def test_what_no_step_resolves_is_the_same_in_every_draw() -> None:
    """Of data N(0.3, 0.01), whose posterior mean is known: equal steps end too far from them to tell draws apart."""
    mean, deviation = 0.3, 0.1
    process = Process()

    def denoise(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        a, sigma = process.coefficients(t, x)
        gain = a * deviation**2 / (a**2 * deviation**2 + sigma**2)
        return process.from_x0(mean + gain * (x - a * mean), x, t)

    torch.manual_seed(0)
    noise = torch.randn(4000, 1, 1, 1, 1)
    equal = Stochastic(sampling_steps=4).draw(denoise, noise)
    fine = Stochastic(levels=(1000, 700, 500, 350, 250, 150, 100, 60, 40, 25, 16, 10, 6, 4, 2)).draw(denoise, noise)
    assert float(equal.mean()) == pytest.approx(mean, abs=0.01)
    assert float(fine.mean()) == pytest.approx(mean, abs=0.01)
    assert float(equal.std()) < 0.2 * deviation
    assert float(fine.std()) == pytest.approx(deviation, rel=0.2)
