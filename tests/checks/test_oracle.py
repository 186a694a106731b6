"""The exact denoiser against numerical integration, and the readings of a network's output against each other."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from traindx.checks.diffusion.formulas import MISTAKES, combine, exact_step, read, written
from traindx.core.gaussian_oracle import MIDDLE, GaussianField, answer, encode, noise_estimate, posterior_mean
from traindx.core.parameterisation import TYPES

levels = st.floats(0.001, 0.999)


@settings(max_examples=40, deadline=None)
@given(x=st.floats(-3, 3), alpha=levels, m=st.floats(-1, 1), s=st.floats(0.05, 2))
def test_posterior_mean_is_the_integral_of_bayes(x, alpha, m, s):
    """E[x0 | x_t] by quadrature over the prior, with nothing but the definition of x_t."""
    seen = x / alpha**0.5  # the posterior lies between the prior's mean and this
    grid = np.linspace(min(m, seen) - 12 * s, max(m, seen) + 12 * s, 400_001)
    log_weight = -((grid - m) ** 2) / (2 * s**2) - (x - alpha**0.5 * grid) ** 2 / (2 * (1 - alpha))
    weight = np.exp(log_weight - log_weight.max())
    expected = float((grid * weight).sum() / weight.sum())
    found = posterior_mean(*(torch.tensor(value, dtype=torch.float64) for value in (x, alpha, m, s)))
    assert float(found) == pytest.approx(expected, abs=1e-5 * max(1, abs(expected)))


@settings(max_examples=30, deadline=None)
@given(kind=st.sampled_from(TYPES), alpha=levels)
def test_every_reading_undoes_its_writing(kind, alpha):
    a, s = np.float64(alpha**0.5), np.float64((1 - alpha) ** 0.5)
    x0, noise = 0.7, -1.3
    x = a * x0 + s * noise
    output = float(encode(kind, torch.tensor(x0), torch.tensor(noise), torch.tensor(alpha)).double())
    (u0, w0), (u1, w1) = read(kind, a, s)
    assert u0 * x + w0 * output == pytest.approx(x0, abs=1e-4)
    assert u1 * x + w1 * output == pytest.approx(noise, abs=1e-4)
    assert np.dot(written(kind, a, s), (x0, noise)) == pytest.approx(output, abs=1e-4)


@pytest.mark.parametrize("kind", TYPES)
def test_noise_and_clean_ends_do_not_divide_by_zero(kind):
    x = torch.linspace(-2, 2, 5, dtype=torch.float64)
    for alpha in (0.0, 1.0):
        level = torch.tensor(alpha, dtype=torch.float64)
        assert bool(torch.isfinite(answer(kind, x, level, x * 0 + 0.3, x * 0 + 0.2)).all())
    assert torch.equal(noise_estimate(x, x, torch.tensor(1.0, dtype=torch.float64)), torch.zeros_like(x))


@pytest.mark.parametrize("kind", TYPES)
def test_no_known_mistake_is_the_right_step(kind):
    """A mistake that equals the exact step anywhere in the middle of a schedule would rule out the at fault."""
    a, b = np.float64(0.3**0.5), np.float64(0.6**0.5)
    s, tau = (1 - a**2) ** 0.5, (1 - b**2) ** 0.5
    right = np.array(exact_step(kind, a, s, b, tau), dtype=float)
    names = [item.name for item in MISTAKES if kind in item.kinds]
    wrong = [np.array(item.step(kind, a, s, b, tau), dtype=float) for item in MISTAKES if kind in item.kinds]
    assert len(names) >= 15
    for name, found in zip(names, wrong, strict=True):
        assert np.abs(found - right).max() > 1e-2, name


def test_published_mistake_is_written_as_published():
    """pred_noise = (sqrt_alphas_t * x - pred_x0) / sqrt_one_minus_alphas_t, from its post-mortem."""
    x, v, alpha, after = 0.4, -0.9, 0.3, 0.6
    a, s = np.float64(alpha**0.5), np.float64((1 - alpha) ** 0.5)
    x0 = a * x - s * v
    pred_noise = (a * x - x0) / s
    expected = after**0.5 * x0 + (1 - after) ** 0.5 * pred_noise
    mistake = next(item for item in MISTAKES if item.name == "epsilon-terms-swapped")
    c1, c2 = mistake.step("v", a, s, np.float64(after**0.5), np.float64((1 - after) ** 0.5))
    assert c1 * x + c2 * v == pytest.approx(expected, abs=1e-12)


def test_zero_weight_wins_over_division_by_zero():
    assert combine(0.0, (np.inf, np.nan), 1.0, (2.0, 3.0)) == (2.0, 3.0)


def test_fields_stay_inside_the_data_and_are_independent_of_the_loops_noise():
    shape = (2, 1, 24, 24, 24)
    field = GaussianField.over(shape, -1000.0, 1000.0)
    middle = field.member < MIDDLE
    assert 0.85 < float(middle.double().mean()) < 0.91
    ends = torch.tensor(field.means[MIDDLE:])
    assert bool((ends.abs() + 5 * torch.tensor(field.sds[MIDDLE:]) <= 1000).all())
    for seed in range(4):
        torch.manual_seed(seed)
        noise = torch.randn(shape)
        for index in range(len(field.means)):
            chosen = noise[field.member == index]
            assert abs(float(chosen.std()) - 1) < 5 / (2 * len(chosen)) ** 0.5
            assert abs(float(chosen.mean())) < 5 / len(chosen) ** 0.5
