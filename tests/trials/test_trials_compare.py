"""Judging claimed fixes: cures, helps, no effect, harms, breaks, and scoring metrics that change their meaning."""

from __future__ import annotations

import re

import pytest
import torch
from torch import nn
from trial_cases import diffusion, linear_batches, noisy_regression, psnr, treated

import traindx as dx
from traindx.errors import UsageError
from traindx.trials.claims import FixVerdict
from traindx.trials.compare import compare


def without_shrinking(case):
    return treated(case, "drop-term", term="shrink")


def changed(comparison):
    return {change.what for change in comparison.changes if not change.identical}


def test_a_fix_that_crosses_the_baselines_cures():
    case = noisy_regression()
    base = case.loss
    # shrinks so hard that it does no better than the mean
    sick = case.replace(loss=lambda m, b: {**base(m, b), "shrink": 20 * m.weight.square().sum()})
    comparison = compare(sick, without_shrinking(sick), budget="30s")
    assert comparison.verdict is FixVerdict.CURES
    assert comparison.effect.low > 0
    assert comparison.effect.n == 3
    assert "past the best trivial baseline" in comparison.sentence
    assert {"first loss", "weights", "predictions", "metric"} <= changed(comparison)
    assert not comparison.metric_changed


def test_a_fix_of_a_case_that_beats_the_baselines_already_helps():
    case = noisy_regression()
    comparison = compare(case, without_shrinking(case), budget=30)
    assert comparison.verdict is FixVerdict.HELPS
    assert compare(without_shrinking(case), case, budget=30).verdict is FixVerdict.HARMS


def test_a_placebo_is_bit_identical_and_needs_one_seed():
    case = noisy_regression()
    comparison = compare(case, treated(case, "drop-term", term="frozen"), budget=30)
    assert comparison.verdict is FixVerdict.NO_EFFECT
    assert "bit-identical" in comparison.sentence
    assert comparison.seeds == (0,)
    assert changed(comparison) == {"first loss", "losses"}  # the dead term changes the loss and nothing else


def test_a_difference_of_no_importance_is_a_placebo():
    case = noisy_regression()

    def nudged(model, batch):
        return case.predict(model, batch) + 1e-4

    comparison = compare(case, case.replace(predict=nudged), budget=30)
    assert comparison.verdict is FixVerdict.NO_EFFECT
    assert "of no importance" in comparison.sentence
    assert changed(comparison) == {"predictions", "metric"}


def test_a_right_formula_before_a_broken_decoder_harms():
    """One documented fix: the exact epsilon formula alone turned a constant into static."""
    broken, fixed = diffusion(wrong_epsilon=True, steps=100), diffusion(steps=100)
    comparison = compare(broken, fixed, budget=60)
    assert comparison.verdict is FixVerdict.HARMS
    assert changed(comparison) == {"predictions", "metric"}
    assert comparison.effect.high < 0


def test_a_fix_that_crashes_breaks_with_its_line():
    case = noisy_regression()
    line = crash.__code__.co_firstlineno + 1
    comparison = compare(case, case.replace(loss=crash), budget=30)
    assert comparison.verdict is FixVerdict.BREAKS
    assert f"test_trials_compare.py:{line}" in comparison.sentence
    assert comparison.effect is None
    assert compare(case.replace(loss=crash), case, budget=30).verdict is FixVerdict.CURES
    assert compare(case.replace(loss=crash), case.replace(loss=crash), budget=30).verdict is FixVerdict.INCONCLUSIVE


def crash(model, batch):
    return batch["no such key"]


def test_a_fix_that_diverges_breaks():
    case = noisy_regression()
    nan = case.replace(loss=lambda m, b: {**case.loss(m, b), "bad": torch.log(m.weight.square().sum() - 1e9)})
    comparison = compare(case, nan, budget=30)
    assert comparison.verdict is FixVerdict.BREAKS
    assert "not a number at step 0" in comparison.sentence


def test_a_channel_too_many_that_broadcasts_silently_is_seen_as_a_change_of_shape():
    """One documented fix made the network emit 17 channels against 1, and the squared error broadcast them."""
    case = noisy_regression(
        loss=lambda m, b: (m(b["x"]) - b["y"]).square().mean(), model=lambda: nn.Linear(6, 1), steps=40
    )
    comparison = compare(case, case.replace(model=lambda: nn.Linear(6, 17)), budget=30)
    assert comparison.verdict is FixVerdict.BREAKS
    assert "(32, 17)" in comparison.sentence or "(16, 17)" in comparison.sentence


def test_another_data_range_changes_the_meaning_of_the_metric_and_nothing_else():
    """The jump of 13.8 dB between two versions of a project was the scoring metric's."""
    case = noisy_regression()
    other = case.replace(metrics={"psnr": dx.Metric(lambda p, t: psnr(p, t) + 13.8, "dB", negligible=0.2)})
    comparison = compare(case, other, budget=30)
    assert comparison.verdict is FixVerdict.NO_EFFECT
    assert "means something else" in comparison.sentence
    assert comparison.metric_changed["zeros"] == pytest.approx(13.8, abs=1e-3)
    assert comparison.metric_changed["mean image"] == pytest.approx(13.8, abs=1e-3)
    assert comparison.after == comparison.before
    assert comparison.after_own[0] == pytest.approx(comparison.before[0] + 13.8, abs=1e-3)


def test_cases_without_a_common_yardstick_are_not_compared():
    case = noisy_regression()
    other = case.replace(
        target=lambda batch: 2 * batch["y"], loss=lambda m, b: (m(b["x"]) - 2 * b["y"]).square().mean()
    )
    comparison = compare(case, other, budget=30)
    assert comparison.verdict is FixVerdict.INCONCLUSIVE
    assert "no common scoring metric" in comparison.sentence


def test_noise_is_inconclusive():
    case = noisy_regression(train=linear_batches(2, noise=2.0), steps=30)
    base = case.loss
    other = case.replace(loss=lambda m, b: {**base(m, b), "jitter": 0.3 * (m.weight * torch.randn(6)).sum()})
    comparison = compare(case, other, budget=30)
    assert comparison.verdict in (FixVerdict.INCONCLUSIVE, FixVerdict.NO_EFFECT)
    if comparison.verdict is FixVerdict.INCONCLUSIVE:
        assert "within the noise" in comparison.sentence


def test_one_seed_is_inconclusive_and_says_so():
    case = noisy_regression()
    comparison = compare(case, without_shrinking(case), budget=30, seeds=(0,))
    assert comparison.verdict is FixVerdict.INCONCLUSIVE
    assert "on one seed" in comparison.sentence
    assert "noise" not in comparison.sentence  # one pair tells nothing of it


def test_pairs_are_added_while_time_is_left_and_it_is_open():
    """Three pairs of 6 of 12 seconds were called within the noise, and the rest of the time was not used."""
    case = noisy_regression(train=linear_batches(2, noise=2.0), steps=30)
    base = case.loss
    other = case.replace(loss=lambda m, b: {**base(m, b), "jitter": 0.3 * (m.weight * torch.randn(6)).sum()})
    assert compare(case, other, budget=30, seeds=(0, 1, 2)).effect.n == 3
    comparison = compare(case, other, budget=30)
    assert comparison.verdict is not FixVerdict.INCONCLUSIVE or comparison.effect.n == 12
    assert comparison.complete


def test_a_run_that_does_not_fit_says_what_budget_would_do():
    case = noisy_regression(steps=100_000)
    comparison = compare(case, without_shrinking(case), budget=1)
    assert comparison.verdict is FixVerdict.INCONCLUSIVE
    assert re.fullmatch(
        r"seed 0 did not fit into the budget of 1.0 s; about (\d+ h )?\d+ min would do", comparison.sentence
    )


def test_the_budget_limits_the_seeds():
    case = noisy_regression()
    comparison = compare(case, without_shrinking(case), budget=0)
    assert not comparison.complete
    assert comparison.verdict is FixVerdict.INCONCLUSIVE
    with pytest.raises(UsageError):
        compare(case, case, budget="soon")


def test_what_is_neither_trained_nor_scored_is_not_acquitted():
    """A temperature of prototypes that are learnt elsewhere was called without effect."""

    def learning(temperature):
        return dx.case_parts.PrototypeLearning(fit=lambda seed: None, used=lambda seed: None, temperature=temperature)

    case = noisy_regression()
    low, high, alike = (case.replace(parts=(learning(value),)) for value in (0.3, 0.5, 0.3))
    comparison = compare(low, high, budget=30)
    assert comparison.verdict is FixVerdict.INCONCLUSIVE
    assert "not tried: it changes temperature of the prototypes (0.3 → 0.5)" in comparison.sentence
    assert compare(low, alike, budget=30).verdict is FixVerdict.NO_EFFECT
    better = without_shrinking(case).replace(parts=(learning(0.5),))
    assert compare(low, better, budget=30).verdict is FixVerdict.HELPS  # where something moves, that is judged


def test_the_public_name_is_this_one():
    assert dx.compare is compare


def test_a_fix_that_reports_under_another_name_is_judged_by_its_own():
    case = noisy_regression()
    name, metric = case.metric()
    after = without_shrinking(case).replace(metrics={"of the fix": metric})
    comparison = compare(case, after, budget=20, seeds=(0,))
    assert any(f"judged by {name}; the case after reports of the fix" in note for note in comparison.notes)
    same = compare(case, without_shrinking(case), budget=20, seeds=(0,))
    assert not any("the case after reports" in note for note in same.notes)
