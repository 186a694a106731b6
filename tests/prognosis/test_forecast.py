"""Forecasts of curves whose law is known in closed form, and of curves that must not be forecast."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from traindx.errors import InputError
from traindx.prognosis import LearningCurve, Schedule, State, forecast, prognosis
from traindx.prognosis.baselines import last_value, plain_power_law
from traindx.prognosis.curve import MOST, tail_of
from traindx.prognosis.families import laws, solve
from traindx.prognosis.messages import format_prognosis

LAWS = {
    "power law": lambda s: 0.2 + 0.3 * (s / 300) ** -0.5,
    "slow power law": lambda s: 0.2 + 0.3 * (s / 300) ** -0.2,
    "exponential": lambda s: 0.2 + np.exp(-s / 210),
    "log-linear": lambda s: 1.5 - 0.2 * np.log(s / 300),
}


def drawn(law, count=20, noise=0.02, seed=0, until=300, **parts):
    steps = np.linspace(until / count, until, count)
    scatter = noise * np.random.default_rng(seed).standard_normal(count)
    return LearningCurve(tuple(steps), tuple(law(steps) + scatter), **parts)


@pytest.mark.parametrize("name", LAWS)
def test_four_intervals_of_five_hold_the_truth(name):
    law, held = LAWS[name], 0
    for seed in range(20):
        found = forecast(drawn(law, seed=seed), 600, seed=seed)
        observed = law(600.0) + 0.02 * np.random.default_rng(1000 + seed).standard_normal()
        held += observed in found.value
    assert held >= 13  # of 20; a true coverage of 0.8 gives fewer once in 30 times


@pytest.mark.parametrize("name", LAWS)
def test_neither_baseline_keeps_its_promise(name):
    law = LAWS[name]
    held = sum(law(600.0) in last_value(drawn(law, seed=seed, noise=0.005)) for seed in range(20))
    assert held < 16


def test_a_curve_without_noise_is_continued_where_its_law_is_identified():
    found = forecast(drawn(lambda s: 0.2 + 0.3 * (s / 300) ** -0.5, count=40, noise=0.0), 600)
    assert found.value.middle == pytest.approx(0.2 + 0.3 * 2**-0.5, abs=0.02)


def test_the_plain_power_law_is_exact_on_its_own_law():
    curve = drawn(lambda s: 3 * s**-0.4, noise=0.0)
    assert plain_power_law(curve, 600).middle == pytest.approx(3 * 600**-0.4, rel=1e-6)


@settings(max_examples=25, deadline=None)
@given(st.integers(5, 60), st.floats(0.0, 0.5), st.integers(0, 10**6), st.booleans())
def test_intervals_are_ordered_and_no_gain_is_negative(count, noise, seed, higher):
    curve = drawn(LAWS["power law"], count=count, noise=noise, seed=seed, higher_is_better=higher)
    found = forecast(curve, 500, seed=seed)
    for one in (found.value, found.gain):
        assert one.low <= one.middle <= one.high
    assert found.gain.low >= -1e-9
    assert forecast(curve, 500, seed=seed) == found  # the same seed gives the same forecast


@settings(max_examples=15, deadline=None)
@given(st.floats(0.01, 100.0), st.integers(0, 1000))
def test_units_do_not_matter(factor, seed):
    """Losses in other units are the same curve: fitted as logarithms, all factors drop out."""
    plain = drawn(LAWS["power law"], seed=seed)
    scaled = LearningCurve(plain.steps, tuple(factor * value for value in plain.values))
    one, other = forecast(plain, 600), forecast(scaled, 600)
    assert other.gain.middle == pytest.approx(factor * one.gain.middle, rel=0.02)


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 1000))
def test_no_coefficient_but_the_first_is_negative_and_no_better_fit_is(seed):
    """Against scipy's bounded least squares."""
    from scipy.optimize import lsq_linear

    generator = np.random.default_rng(seed)
    columns = np.column_stack([np.ones(12), generator.standard_normal((12, 2))])
    values, weights = generator.standard_normal((12, 1)), generator.uniform(0.2, 1, 12)
    some, left = solve(columns, values, weights)
    root = np.sqrt(weights)
    wanted = lsq_linear(columns * root[:, None], values[:, 0] * root, ([-np.inf, 0, 0], np.inf), tol=1e-12)
    assert some[:, 0] == pytest.approx(wanted.x, abs=1e-5)
    assert left[0] == pytest.approx(2 * wanted.cost, rel=1e-6)


def test_every_law_falls_and_their_priors_sum_to_one():
    known = laws(100.0)
    assert sum(law.prior for law in known) == pytest.approx(1)
    for law in known:
        assert np.all(np.diff(law.shape(np.linspace(5, 800, 50))) <= (1e-12 if law.family != "flat" else np.inf))


# ------------------------------------------------------------------------------------------------ schedules


def annealed(steps, schedule, level=24.0, slope=2.0, given_back=0.6):
    """A PSNR that follows the logarithm of the rate that was spent, and loses a part while the rate is high."""
    return level + slope * np.log(schedule.spent(steps) / 100) - given_back * schedule.share(steps)


def test_a_cosine_that_ends_hides_what_is_left_and_the_schedule_shows_it():
    planned, longer = Schedule.cosine(300), Schedule.cosine(600)
    steps = np.arange(15.0, 301, 15)
    for given_back in (0.0, 0.6):
        scatter = 0.02 * np.random.default_rng(0).standard_normal(len(steps))
        values = annealed(steps, planned, given_back=given_back) + scatter
        curve = LearningCurve(tuple(steps), tuple(values), True, "psnr", "dB", planned)
        truth = float(annealed(np.array([600.0]), longer, given_back=given_back)[0])
        assert truth in forecast(curve, 600).value
        assert prognosis(curve).state is State.UNDER_TRAINED
        spatially_invariant = LearningCurve(tuple(steps), tuple(values), True, "psnr", "dB")
        assert prognosis(spatially_invariant).state is not State.UNDER_TRAINED
        if not given_back:
            assert forecast(spatially_invariant, 600).value.high < truth


def test_what_a_schedule_spends():
    cosine = Schedule.cosine(1000)
    assert cosine.spent(np.array([1000.0]))[0] == pytest.approx(500, rel=2e-3)  # the mean of half a cosine is 1/2
    assert cosine.spent(np.array([2000.0]))[0] == pytest.approx(1000, rel=2e-3)  # stretched
    assert Schedule().spent(np.array([70.0]))[0] == 70
    warm = Schedule.cosine(100, warm_up=10, last=0.02)
    assert warm.rates[0] == pytest.approx(0.1)
    assert warm.rates[9] == pytest.approx(1.0)
    assert len(warm.rates) == 100
    assert Schedule.recorded([2e-3, 1e-3]).rates == (1.0, 0.5)


# ------------------------------------------------------------------------------------------------ verdicts


def test_under_trained_converged_and_stuck():
    rising = drawn(lambda s: 30 + 3 * np.log(s / 300), noise=0.05, higher_is_better=True, name="psnr")
    assert prognosis(rising).state is State.UNDER_TRAINED
    done = drawn(lambda s: 30 - 5 * np.exp(-s / 20), noise=0.02, higher_is_better=True, name="psnr")
    assert prognosis(done).state is State.CONVERGED
    never = drawn(lambda s: 20 + 0 * s, noise=0.02, higher_is_better=True, name="psnr")
    assert prognosis(never).state is State.STUCK
    exactly = LearningCurve(tuple(range(5, 55, 5)), (20.61,) * 10, True, "psnr")
    assert prognosis(exactly).state is State.STUCK


def test_flat_at_a_trivial_level_is_stuck_although_it_began_lower():
    curve = drawn(lambda s: 20 - 5 * np.exp(-s / 20), noise=0.02, higher_is_better=True, name="psnr")
    assert prognosis(curve).state is State.CONVERGED
    assert prognosis(curve, reference=20.1).state is State.STUCK


def test_the_log_of_a_resumed_run_does_not_show_where_it_began():
    """Near miss: flat from its first line on, which is half-way through the training."""
    resumed = LearningCurve(
        tuple(range(2500, 6000, 500)), (0.8837, 0.8834, 0.8827, 0.8824, 0.8824, 0.8823, 0.8815), True
    )
    assert prognosis(resumed, worth=0.005).state is State.CONVERGED
    assert prognosis(resumed, worth=0.005, reference=0.88).state is State.STUCK


@pytest.mark.parametrize("seed", range(8))
def test_noise_alone_is_never_a_reason_to_train_longer(seed):
    curve = drawn(lambda s: 20 + 0 * s, noise=0.3, seed=seed, higher_is_better=True, name="psnr")
    assert prognosis(curve).state is not State.UNDER_TRAINED


def test_more_steps_are_never_recommended_when_the_interval_reaches_below_what_is_worth_while():
    curve = drawn(LAWS["power law"], noise=0.03)
    found = prognosis(curve)
    enough = prognosis(curve, worth=0.99 * found.forecast.gain.low)
    short = prognosis(curve, worth=1.01 * found.forecast.gain.low)
    assert (enough.state, short.state) == (State.UNDER_TRAINED, State.UNDECIDED)


def test_a_drop_after_a_decay_of_the_rate_is_not_continued():
    """Near miss: flat, a drop as the rate falls by ten, flat again."""
    steps = np.arange(10.0, 401, 10)
    values = np.where(steps <= 260, 1.0, 0.5) + 0.01 * np.random.default_rng(0).standard_normal(len(steps))
    rates = [1.0] * 260 + [0.1] * 140
    for schedule in (Schedule(tuple(rates)), Schedule()):
        curve = LearningCurve(tuple(steps), tuple(values), schedule=schedule)
        found = prognosis(curve)
        assert found.forecast.since == 270
        assert found.state is not State.UNDER_TRAINED
        assert found.forecast.gain.high < 0.05


def test_a_steep_smooth_curve_is_not_mistaken_for_a_jump():
    for seed in range(10):
        for law in LAWS.values():
            assert tail_of(drawn(law, count=12, noise=0.005, seed=seed)).since == 0


def test_a_flat_metric_decides_whatever_the_loss_does():
    """Near miss: the loss still falls, the metric does not move any more."""
    metric = drawn(lambda s: 0.85 - 0.4 * np.exp(-s / 25), noise=0.002, higher_is_better=True, name="val_dice")
    loss = drawn(lambda s: s**-0.8, noise=0.0)
    assert prognosis(loss).state is State.UNDER_TRAINED
    assert prognosis(metric).state is State.CONVERGED


def test_a_single_outlier_changes_nothing_of_importance():
    curve = drawn(LAWS["power law"], count=30, noise=0.005)
    values = list(curve.values)
    values[-4] = 5.0
    spoiled = LearningCurve(curve.steps, tuple(values))
    assert forecast(spoiled, 600).value.middle == pytest.approx(forecast(curve, 600).value.middle, abs=0.03)


def test_where_to_stop_is_where_doubling_gains_too_little():
    """Closed form: y = 0.2 + 0.3 (s/300)^-0.5, so that doubling from s gains 0.3 (s/300)^-0.5 (1 - 2^-0.5)."""
    curve = drawn(LAWS["power law"], count=40, noise=0.001)
    wanted = 300 * (0.3 * (1 - 2**-0.5) / 0.06) ** 2
    found = prognosis(curve, worth=0.06)
    assert found.stop.low <= wanted <= found.stop.high
    assert found.stop.middle == pytest.approx(wanted, rel=0.35)


# ------------------------------------------------------------------------------------------------ input


def test_long_series_are_put_into_bins_and_short_ones_are_refused():
    assert len(tail_of(drawn(LAWS["power law"], count=2000))) == MOST
    with pytest.raises(InputError, match="usable points"):
        forecast(drawn(LAWS["power law"], count=4), 600)
    with pytest.raises(InputError, match="not later"):
        forecast(drawn(LAWS["power law"]), 300)
    with pytest.raises(InputError, match="times as far"):
        forecast(drawn(LAWS["power law"]), 9000)
    with pytest.raises(InputError, match="do not increase"):
        LearningCurve((1.0, 1.0), (2.0, 1.0))


def test_missing_values_are_left_out():
    curve = drawn(LAWS["power law"])
    values = (*curve.values[:9], math.nan, *curve.values[10:])
    assert math.isfinite(forecast(LearningCurve(curve.steps, values), 600).value.middle)


def test_the_verdict_is_told_with_its_numbers():
    curve = drawn(lambda s: 30 + 3 * np.log(s / 300), noise=0.05, higher_is_better=True, name="val_psnr", unit="dB")
    text = format_prognosis(curve, prognosis(curve))
    assert text.startswith("Under-trained: val_psnr is 29.98 dB after 300 steps")
    assert "80 % interval" in text
    assert "schedule" not in text
