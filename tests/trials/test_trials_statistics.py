"""Intervals and corrections against scipy, and the verdicts that follow from them."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from traindx.finding import Verdict
from traindx.trials.statistics import (
    LEVEL,
    Direction,
    Identity,
    at_confidence,
    consistent,
    direction,
    holm,
    p_value,
    paired_effect,
    seeds_needed,
    sign_report,
    told_by_ratio,
    verdict_of,
)

DIFFERENT = Identity(weights=False, predictions=False)
BETTER, WORSE, NOTHING, OPEN = Direction.BETTER, Direction.WORSE, Direction.NOTHING, Direction.OPEN
figures = st.lists(st.tuples(st.floats(-50, 50), st.floats(-50, 50)), min_size=2, max_size=8)


@settings(max_examples=60, deadline=None)
@given(figures)
def test_effect_and_p_value_are_those_of_scipy(pairs):
    treated, untreated = (np.array(side) for side in zip(*pairs, strict=True))
    differences = treated - untreated
    effect = paired_effect(treated, untreated)
    assert effect.mean == pytest.approx(differences.mean(), abs=1e-9)
    if differences.std() < 1e-6:
        return
    expected = stats.ttest_rel(treated, untreated)
    interval = expected.confidence_interval(0.95)
    assert effect.low == pytest.approx(interval.low, rel=1e-6, abs=1e-6)
    assert effect.high == pytest.approx(interval.high, rel=1e-6, abs=1e-6)
    assert p_value(effect) == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)


def test_where_lower_is_better_the_sign_is_turned():
    effect = paired_effect([1.0, 1.5], [2.0, 3.0], higher_is_better=False)
    assert effect.differences == (1.0, 1.5)
    assert effect.mean > 0


def test_one_pair_has_no_interval_and_says_nothing():
    effect = paired_effect([30.0], [10.0])
    assert effect.mean == 20.0
    assert math.isnan(effect.low)
    assert math.isnan(effect.high)
    assert p_value(effect) == 1.0
    assert direction(effect, 0.0, 0.1, DIFFERENT) is OPEN


def test_pairs_that_are_not_numbers_are_left_out():
    assert paired_effect([math.nan, 3.0], [1.0, 1.0]).differences == (2.0,)
    assert paired_effect([math.inf], [1.0]) is None
    assert paired_effect([], []) is None


@pytest.mark.parametrize("n", [2, 3, 6])
def test_equal_differences_are_known_to_half_a_step_of_the_figure(n):
    effect = paired_effect([0.75] * n, [0.5] * n)  # one step of an accuracy of four items
    half = stats.t.ppf(0.975, n - 1) * 0.25 / math.sqrt(12) / math.sqrt(n)
    assert (effect.low, effect.high) == pytest.approx((0.25 - half, 0.25 + half))
    assert p_value(effect) == pytest.approx(2 * stats.t.sf(0.25 * math.sqrt(12 * n) / 0.25, n - 1))
    assert (p_value(effect) < LEVEL) == (effect.low > 0)


def test_equal_differences_of_a_fine_figure_are_known_better_than_those_of_a_coarse_one():
    fine, coarse = ([a + 5 for a in base] for base in ([1.0, 1.01, 1.02], [1.0, 2.0, 3.0]))
    narrow = paired_effect(fine, [1.0, 1.01, 1.02])
    wide = paired_effect(coarse, [1.0, 2.0, 3.0])
    assert 0 < narrow.high - narrow.low < wide.high - wide.low


def test_nothing_is_known_of_the_spread_of_a_figure_that_never_moves():
    effect = paired_effect([1.0, 1.0], [1.0, 1.0])
    assert math.isnan(effect.low)
    assert p_value(effect) == 1.0
    assert direction(effect, 1.0, 0.5, DIFFERENT) is OPEN


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(-50, 50), min_size=2, max_size=8), st.integers(1, 5), st.sampled_from([0.01, 0.04, 0.05]))
def test_interval_and_adjusted_p_say_the_same(differences, questions, level):
    effect = paired_effect(differences, [0.0] * len(differences))
    if math.isnan(effect.low):
        return
    adjusted = min(1.0, questions * p_value(effect))
    shown = consistent(effect, adjusted, level)
    if abs(adjusted - level) < 1e-9:
        return
    assert (shown.low > 0 or shown.high < 0) == (adjusted < level)
    assert shown.low <= effect.low + 1e-9  # never narrower than 95 %
    assert shown.high >= effect.high - 1e-9


def test_a_widened_interval_is_that_of_its_confidence():
    effect = paired_effect([0.10, 0.40, 0.70, 0.40], [0.0] * 4)
    assert effect.low > 0
    shown = consistent(effect, 3 * p_value(effect))
    expected = stats.ttest_1samp(effect.differences, 0.0).confidence_interval(1 - LEVEL / 3)
    assert (shown.low, shown.high) == pytest.approx((expected.low, expected.high))
    assert shown.confidence == pytest.approx(1 - LEVEL / 3)
    assert shown.low < 0


def test_how_many_seeds_would_do():
    effect = paired_effect([1.0, -0.5, 2.0], [0.0, 0.0, 0.0])
    spread = np.std(effect.differences, ddof=1)
    count = seeds_needed(effect)
    assert stats.t.ppf(0.975, count - 1) * spread / math.sqrt(count) < effect.mean
    assert stats.t.ppf(0.975, count - 2) * spread / math.sqrt(count - 1) >= effect.mean
    assert seeds_needed(paired_effect([1.0, -1.0, 0.01], [0.0, 0.0, 0.0])) is None


@settings(max_examples=60, deadline=None)
@given(st.lists(st.floats(0, 1), min_size=1, max_size=8))
def test_holm_agrees_with_its_definition_written_out(values):
    adjusted = holm({str(index): p for index, p in enumerate(values)})
    order = np.argsort(values, kind="stable")
    running, expected = 0.0, {}
    for rank, index in enumerate(order):
        running = max(running, min(1.0, values[index] * (len(values) - rank)))
        expected[str(index)] = running
    assert adjusted == pytest.approx(expected)
    # never below the raw value, never above Bonferroni
    for index, p in enumerate(values):
        assert p <= adjusted[str(index)] + 1e-12
        assert adjusted[str(index)] <= min(1.0, p * len(values)) + 1e-12


def test_holm_by_hand():
    # .01 x 3, .02 x 2, .03 x 1 raised to .04
    assert holm({"a": 0.01, "b": 0.03, "c": 0.02}) == pytest.approx({"a": 0.03, "b": 0.04, "c": 0.04})


@pytest.mark.parametrize(
    ("differences", "negligible", "expected"),
    [
        ([5.0, 5.2, 4.9], 0.3, BETTER),
        ([-5.0, -5.2, -4.9], 0.3, WORSE),
        ([0.05, -0.02, 0.01], 0.3, NOTHING),
        ([5.0, -3.0, 1.0], 0.3, OPEN),
        ([0.20, 0.21, 0.20], 0.3, NOTHING),  # certain, and of no importance
        ([0.35, 0.2, 0.32], 0.3, OPEN),  # not equivalent, and its mean is no larger than what is negligible
    ],
)
def test_direction(differences, negligible, expected):
    effect = paired_effect(differences, [0.0] * len(differences))
    assert direction(effect, p_value(effect), negligible, DIFFERENT) is expected


def test_bit_identity_needs_one_seed_only():
    effect = paired_effect([3.0], [3.0])
    assert direction(effect, 1.0, 0.0, Identity(weights=True, predictions=True)) is NOTHING
    assert direction(effect, 1.0, 0.0, Identity(weights=True, predictions=False)) is OPEN


def test_a_correction_can_take_a_conviction_back():
    effect = paired_effect([5.0, 6.0, 7.0], [0.0, 0.0, 0.0])
    assert direction(effect, p_value(effect), 0.1, DIFFERENT) is BETTER
    assert direction(effect, 6 * p_value(effect), 0.1, DIFFERENT) is OPEN


@pytest.mark.parametrize(
    ("alone", "rest", "verdict"),
    [
        (BETTER, BETTER, Verdict.PROVEN),
        (WORSE, BETTER, Verdict.PROVEN),
        (OPEN, BETTER, Verdict.PROVEN),
        (BETTER, NOTHING, Verdict.CONTRIBUTORY),
        (BETTER, OPEN, Verdict.CONTRIBUTORY),
        (WORSE, NOTHING, Verdict.CONTRIBUTORY),
        (NOTHING, NOTHING, Verdict.NO_EFFECT),
        (WORSE, WORSE, Verdict.HARMFUL),
        (NOTHING, OPEN, Verdict.INCONCLUSIVE),
        (OPEN, NOTHING, Verdict.INCONCLUSIVE),
        (WORSE, OPEN, Verdict.INCONCLUSIVE),
        (OPEN, OPEN, Verdict.INCONCLUSIVE),
    ],
)
def test_verdicts(alone, rest, verdict):
    assert verdict_of(alone, rest) is verdict


def test_nothing_is_innocent_unless_both_companies_say_so():
    for one in Direction:
        for other in Direction:
            if verdict_of(one, other) is Verdict.NO_EFFECT:
                assert (one, other) == (NOTHING, NOTHING)


def test_sign_report_counts_pairs():
    assert sign_report(paired_effect([1.0, 2.0, -1.0], [0.0, 0.0, 0.0])) == "2 of 3 better"
    assert sign_report(paired_effect([-1.0, -2.0], [0.0, 0.0])) == "2 of 2 worse"


def test_errors_of_several_orders_are_compared_by_their_ratios():
    untreated, treated = (30.0, 900.0, 12.0, 4000.0), (2.0, 30.0, 1.5, 90.0)
    effect = paired_effect(treated, untreated, higher_is_better=False)
    logs = np.log(np.array(untreated) / np.array(treated))
    test = stats.ttest_1samp(logs, 0.0)
    low, high = test.confidence_interval(0.95)
    at = stats.gmean(untreated)
    assert effect.by_ratio_at == pytest.approx(at)
    assert effect.mean == pytest.approx(at - stats.gmean(treated))
    assert (effect.low, effect.high) == pytest.approx((at * (1 - math.exp(-low)), at * (1 - math.exp(-high))))
    assert effect.differences == (28.0, 870.0, 10.5, 3910.0)
    assert p_value(effect) == pytest.approx(test.pvalue)
    assert effect.low > 0
    wider = at_confidence(effect, 0.999)
    assert wider.low == pytest.approx(at * (1 - math.exp(-test.confidence_interval(0.999).low)))
    # by differences it would be said that nothing is known
    assert stats.ttest_1samp(effect.differences, 0.0).confidence_interval(0.95).low < 0
    back = paired_effect(untreated, treated, higher_is_better=False)
    assert p_value(back) == pytest.approx(test.pvalue)
    assert back.high < 0
    assert "val mae spread over a factor of ten" in told_by_ratio("val mae", [None, effect])
    assert told_by_ratio("val mae", [None, paired_effect((1.0, 2.0), (2.0, 2.5))]) == ""


@pytest.mark.parametrize(
    ("readings", "higher"),
    [((1.0, 9.9), False), ((0.0, 50.0), False), ((-1.0, 50.0), False), ((1.0, 50.0), True)],
)
def test_other_figures_are_compared_by_their_differences(readings, higher):
    low, high = readings
    effect = paired_effect((low, low, low + 0.1), (high, high - 0.1, high), higher_is_better=higher)
    assert effect.log_ratios == ()
    assert effect.mean == pytest.approx(math.fsum(effect.differences) / 3)


def test_ratios_beyond_a_float_and_equal_ones_do_no_harm():
    effect = paired_effect((1e-3, 1e90), (1e200, 1e95), higher_is_better=False)
    assert math.isfinite(effect.low)
    assert effect.low < 0 < effect.high
    assert 0 < p_value(effect) < 1
    same = paired_effect((1.0, 2.0, 4.0), (100.0, 200.0, 400.0), higher_is_better=False)
    assert math.isnan(same.low)
    assert p_value(same) == 1.0


def test_errors_that_nothing_changed_are_rarely_called_better_or_worse():
    draw = np.random.default_rng(5)
    logs = draw.normal(0, 1.5, (1500, 4, 2)) + draw.normal(0, 1, (1500, 4, 1))
    wrong = sum(p_value(paired_effect(*np.exp(one).T, higher_is_better=False)) < 0.05 for one in logs)
    assert 0.03 < wrong / 1500 < 0.07
