"""The process against its definition, and the denoiser against closed forms."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from traindx.errors import InputError
from traindx.recipes.kit.diffusion import Process, loss_weight, posterior_mean, shifted_cosine_betas
from traindx.recipes.xray2ct.geometry import ConeGeometry
from traindx.recipes.xray2ct.layers import from_patches, timestep_features, to_patches
from traindx.recipes.xray2ct.model import Denoiser
from traindx.recipes.xray2ct.sampling import draw

GEOMETRY = ConeGeometry((16, 16, 16), (20.0, 22.0, 22.0), (16, 16))


def test_schedule_is_the_product_of_its_alphas_and_ends_without_signal():
    process = Process()
    torch.testing.assert_close(process.alphas_cumprod, torch.cumprod(1 - process.betas, 0))
    assert (process.alphas_cumprod.diff() < 0).all()
    assert float(process.alphas_cumprod[-1]) == 0.0
    assert float(process.alphas_cumprod[0]) > 0.99


@pytest.mark.parametrize("shift", [0.1, 0.5])
def test_shift_multiplies_the_signal_to_noise_ratio(shift):
    def snr(betas: torch.Tensor) -> torch.Tensor:
        alpha_bar = torch.cumprod(1 - betas, 0)
        return alpha_bar / (1 - alpha_bar)

    plain, shifted = snr(shifted_cosine_betas(1000)), snr(shifted_cosine_betas(1000, shift))
    # both start from their own alpha bar at time 0, which differs from 1 by the offset of the cosine
    torch.testing.assert_close(
        shifted[100:900] / plain[100:900], torch.full((800,), shift**2).double(), rtol=0.02, atol=0
    )


def test_unshifted_is_the_schedule_of_nichol_and_dhariwal():
    def alpha_bar(time: float) -> float:
        return math.cos((time + 0.008) / 1.008 * math.pi / 2) ** 2

    expected = [1 - alpha_bar((k + 1) / 50) / alpha_bar(k / 50) for k in range(50)]
    torch.testing.assert_close(
        shifted_cosine_betas(50), torch.tensor(expected, dtype=torch.float64).clamp_max(0.999), rtol=1e-6, atol=1e-9
    )


@pytest.mark.parametrize("prediction", ["v", "epsilon", "sample"])
def test_the_true_output_implies_the_true_volume(prediction):
    process = Process(prediction)
    x0, noise = torch.rand(6, 1, 4, 4, 4) * 2 - 1, torch.randn(6, 1, 4, 4, 4)
    t = torch.tensor([0, 10, 300, 600, 800, 950])
    x_t = process.noised(x0, noise, t)
    torch.testing.assert_close(process.to_x0(process.target(x0, noise, t), x_t, t), x0, rtol=0, atol=5e-3)


def test_pure_noise_tells_nothing():
    process = Process()
    noise = torch.randn(1, 1, 4, 4, 4)
    last = torch.tensor([process.timesteps - 1])
    assert torch.equal(process.noised(torch.ones(1, 1, 4, 4, 4), noise, last), noise)


def test_sampling_steps_must_divide_the_timesteps():
    with pytest.raises(InputError, match="7 sampling steps do not divide 1000"):
        Process(sampling_steps=7)
    with pytest.raises(InputError, match="velocity"):
        Process("velocity")  # type: ignore[arg-type]


@pytest.mark.parametrize("steps", [5, 10, 50])
def test_sampler_maps_noise_as_the_exact_gaussian_says(steps):
    """Data N(m, s^2), exact denoiser: DDIM is an affine map of the noise, computed here from alpha bar alone."""
    m, s = 0.3, 0.2
    process = Process(sampling_steps=steps)

    class Exact(torch.nn.Module):
        def forward(self, x_t, time, alpha_bar, frontal, lateral):
            a = alpha_bar.view(-1, 1, 1, 1, 1).sqrt()
            sigma = (1 - alpha_bar.view(-1, 1, 1, 1, 1)).sqrt()
            x0 = posterior_mean(torch.tensor(m), s, x_t, a, sigma)
            epsilon = (x_t - a * x0) / sigma
            return a * epsilon - sigma * x0

    batch = {view: torch.zeros(4, 1, 16, 16) for view in ("frontal", "lateral")}
    torch.manual_seed(0)
    drawn = draw(process, Exact(), batch, (16, 16, 16))
    torch.manual_seed(0)
    x = torch.randn(4, 1, 16, 16, 16).double()
    times = list(range(999, -1, -1000 // steps))
    table = [*process.alphas_cumprod[times].double().tolist(), 1.0]
    for now, after in itertools.pairwise(table):
        k = math.sqrt(now) * s**2 / (now * s**2 + 1 - now)
        x0 = m + k * (x - math.sqrt(now) * m)
        x = math.sqrt(after) * x0 + math.sqrt(1 - after) * (x - math.sqrt(now) * x0) / math.sqrt(1 - now)
    torch.testing.assert_close(drawn.double(), x, rtol=0, atol=2e-5)


@settings(max_examples=30, deadline=None)
@given(mean=st.floats(-1, 1), deviation=st.floats(0.05, 1), alpha_bar=st.floats(0.01, 0.99), x_t=st.floats(-2, 2))
def test_posterior_mean_is_the_integral_over_all_volumes(mean, deviation, alpha_bar, x_t):
    a, sigma = math.sqrt(alpha_bar), math.sqrt(1 - alpha_bar)
    x0 = torch.linspace(-12, 12, 200_001, dtype=torch.float64)
    log = -((x0 - mean) ** 2) / (2 * deviation**2) - (x_t - a * x0) ** 2 / (2 * sigma**2)
    weight = torch.exp(log - log.max())
    expected = float((weight * x0).sum() / weight.sum())
    found = posterior_mean(*(torch.tensor(v, dtype=torch.float64) for v in (mean, deviation, x_t, a, sigma)))
    assert float(found) == pytest.approx(expected, abs=1e-3)


@pytest.fixture(scope="module")
def inputs():
    draw_ = torch.Generator().manual_seed(0)
    alpha_bar = torch.tensor([0.5, 0.2])
    return {
        "x_t": torch.randn(2, 1, 16, 16, 16, generator=draw_),
        "time": torch.tensor([0.3, 0.6]),
        "alpha_bar": alpha_bar,
        "frontal": torch.randn(2, 1, 16, 16, generator=draw_),
        "lateral": torch.randn(2, 1, 16, 16, generator=draw_),
    }


def denoiser(**options) -> Denoiser:
    torch.manual_seed(0)
    return Denoiser(GEOMETRY, **options)


@pytest.mark.parametrize("prediction", ["v", "epsilon", "sample"])
def test_every_prediction_implies_the_same_volume(inputs, prediction):
    """The heads are one estimate in three disguises, so the volume they imply is the same to round-off."""
    a = inputs["alpha_bar"].view(-1, 1, 1, 1, 1).sqrt()
    sigma = (1 - inputs["alpha_bar"].view(-1, 1, 1, 1, 1)).sqrt()
    output = denoiser(prediction=prediction)(**inputs)
    x_t = inputs["x_t"]
    implied = {"v": a * x_t - sigma * output, "epsilon": (x_t - sigma * output) / a, "sample": output}[prediction]
    torch.testing.assert_close(implied, denoiser(prediction="sample")(**inputs), rtol=0, atol=1e-4)


@pytest.mark.parametrize("name", ["x_t", "time", "frontal", "lateral"])
def test_no_input_is_ignored_at_initialisation(inputs, name):
    model = denoiser(prediction="sample")
    changed = {**inputs, name: inputs[name].flip(0)}
    difference = (model(**changed) - model(**inputs)).abs().mean() / model(**inputs).std()
    assert float(difference) > 1e-4


def test_views_are_told_apart(inputs):
    model = denoiser(prediction="sample")
    swapped = {**inputs, "frontal": inputs["lateral"], "lateral": inputs["frontal"]}
    assert float((model(**swapped) - model(**inputs)).abs().max()) > 2e-4


def test_noise_above_the_token_grid_passes_as_v_needs(inputs):
    """White noise added to x_t must come back as a / sigma of it in v, whatever the network can express."""
    model = denoiser(prior=(torch.zeros(1, 1, 16, 16, 16), 0.1))  # patients differ little from the mean
    a = inputs["alpha_bar"].view(-1, 1, 1, 1, 1).sqrt()
    sigma = (1 - inputs["alpha_bar"].view(-1, 1, 1, 1, 1)).sqrt()
    extra = 0.1 * torch.randn(2, 1, 16, 16, 16)
    extra = extra - torch.nn.functional.interpolate(torch.nn.functional.avg_pool3d(extra, 4), scale_factor=4)
    with torch.no_grad():
        change = model(**{**inputs, "x_t": inputs["x_t"] + extra}) - model(**inputs)
    transfer = (change * extra).flatten(1).sum(1) / extra.square().flatten(1).sum(1)
    torch.testing.assert_close(transfer, (a / sigma).flatten(), rtol=0.25, atol=0)


def test_every_parameter_learns(inputs):
    model = denoiser()
    model(**inputs).square().mean().backward()
    silent = [name for name, weight in model.named_parameters() if weight.grad is None or not weight.grad.any()]
    assert silent == []


def test_prior_is_the_estimate_where_nothing_else_is_known(inputs):
    """At pure noise the untrained network answers close to the population's mean."""
    mean = torch.randn(1, 1, 16, 16, 16)
    model = denoiser(prediction="sample", prior=(mean, 0.5))
    spatially_invariant = {**inputs, "alpha_bar": torch.zeros(2)}
    with torch.no_grad():
        away = (model(**spatially_invariant) - mean).square().mean().sqrt()
    assert float(away) < 0.5


def test_sizes_and_shapes():
    larger = ConeGeometry((32, 32, 32), (10.0, 10.0, 10.0), (32, 32))
    model = Denoiser(larger, patch=4, channels=8, token_channels=8, depth=1, lifted_channels=4, encoder_channels=4)
    out = model(torch.randn(1, 1, 32, 32, 32), torch.zeros(1), torch.ones(1), *torch.randn(2, 1, 1, 32, 32))
    assert out.shape == (1, 1, 32, 32, 32)
    assert torch.isfinite(out).all()
    with pytest.raises(InputError, match="divisible by 4"):
        Denoiser(replace(GEOMETRY, shape=(18, 18, 18)))


@settings(max_examples=10, deadline=None)
@given(size=st.sampled_from([1, 2, 4]), channels=st.integers(1, 3))
def test_patches_lose_nothing(size, channels):
    volume = torch.randn(2, channels, 8, 8, 8)
    patches = to_patches(volume, size)
    assert patches.shape == (2, channels * size**3, 8 // size, 8 // size, 8 // size)
    assert torch.equal(from_patches(patches, size), volume)
    assert torch.equal(patches[:, :, 0, 0, 0].flatten(1), volume[:, :, :size, :size, :size].flatten(1))


def test_time_features_tell_timesteps_apart():
    features = timestep_features(torch.arange(1000) / 1000, 32)
    distance = torch.cdist(features, features) + torch.eye(1000) * 9
    assert float(distance.min()) > 0.05


@pytest.mark.parametrize("prediction", ["v", "sample"])
def test_an_error_of_the_volume_counts_the_same_at_all_noise_levels(prediction):
    process = Process(prediction)
    t = torch.tensor([5, 100, 500, 900, 999])
    x0, noise = torch.rand(5, 1, 2, 2, 2), torch.randn(5, 1, 2, 2, 2)
    x_t, off = process.noised(x0, noise, t), 0.1

    def output_for(volume: torch.Tensor) -> torch.Tensor:
        alpha_bar = process.alpha_bar(t).view(-1, 1, 1, 1, 1)
        return volume if prediction == "sample" else (alpha_bar.sqrt() * x_t - volume) / (1 - alpha_bar).sqrt()

    error = (output_for(x0 + off) - output_for(x0)).square().mean(dim=(1, 2, 3, 4))
    torch.testing.assert_close(loss_weight(process, t) * error, torch.full((5,), off**2), rtol=1e-3, atol=0)
