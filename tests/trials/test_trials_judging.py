"""Judging ledgers that are written by hand or drawn at random: how often is an without effect convicted?"""

from __future__ import annotations

import math

import numpy as np
import pytest

from traindx.case import Metric
from traindx.finding import Verdict
from traindx.trials.arms import Design
from traindx.trials.effects import explain, judge, margin, results
from traindx.trials.jobs import ArmScore, JobResult
from traindx.trials.results import Results
from traindx.trials.statistics import LEVEL, Direction, look_level
from traindx.trials.treatment import Treatment

METRIC = Metric(lambda p, t: 0.0, "dB", negligible=0.3)


def design(*names):
    return Design.of({name: Treatment(name, name, frozenset({"training"}), lambda c: c, family=name) for name in names})


def observed(made, value, seeds=(0, 1, 2), hits=None):
    """Results from ``value(arm, seed)``; equal values count as equal weights and predictions."""
    book = Results()
    for seed in seeds:
        for arm in made.arms():
            figure = value(arm, seed)
            name = f"{figure!r}/{seed}"
            scored = ArmScore(arm=tuple(arm), values={"psnr": figure}, predictions=name, hits=hits or {})
            book.enter(JobResult(seed=seed, steps=1, arms=(scored,), weights=name), [arm])
    return book


def told(made, book, label, seeds=(0, 1, 2)):
    judged = judge(made, book, seeds, "psnr", METRIC)
    return judged[label], explain(judged[label], judged, made, book, seeds, "dB", {name: name for name in judged})


def test_the_documented_masking():
    """The table of the post-mortem: a wrong formula in front of a decoder that emits noise; three seeds."""
    table = {
        frozenset(): (8.7, 9.0, 8.3),
        frozenset({"formula"}): (2.1, 2.5, 1.9),
        frozenset({"head"}): (23.9, 24.1, 23.9),
        frozenset({"head", "formula"}): (23.95, 24.05, 23.9),
    }
    made = design("head", "formula")
    book = observed(made, lambda arm, seed: table[arm][seed])
    head, note = told(made, book, "head")
    assert head.verdict is Verdict.PROVEN
    assert note == ""
    formula, note = told(made, book, "formula")
    assert formula.directions == {"alone": Direction.WORSE, "given rest": Direction.NOTHING}
    assert formula.verdict is Verdict.CONTRIBUTORY
    assert note.startswith("alone −6.5 dB, given the rest +0")
    assert "hid the fault that head fixes" in note


@pytest.mark.parametrize(
    ("alone", "rest", "verdict", "says"),
    [
        ((-5.0, -5.2, -4.9), (4.0, 4.1, 3.9), Verdict.PROVEN, "hidden until other is in place"),
        ((0.01, -0.02, 0.015), (4.0, 4.1, 3.9), Verdict.PROVEN, "without effect until other"),
        ((5.0, 5.2, 4.9), (0.01, -0.02, 0.015), Verdict.CONTRIBUTORY, "makes up for what other fixes"),
        ((5.0, 5.2, 4.9), (-2.0, -2.1, -1.9), Verdict.CONTRIBUTORY, "makes things worse once other"),
        ((-5.0, -5.2, -4.9), (-2.0, -2.1, -1.9), Verdict.HARMFUL, ""),
        ((0.01, -0.02, 0.015), (0.03, -0.01, 0.02), Verdict.NO_EFFECT, ""),
        ((3.0, -1.0, 6.0), (2.0, -4.0, 1.0), Verdict.INCONCLUSIVE, "too wide to say (2 of 3 better alone"),
    ],
)
def test_every_company_is_told(alone, rest, verdict, says):
    made = design("other", "mine")

    def value(arm, seed):
        own = (rest if "other" in arm else alone)[seed] if "mine" in arm else 0.0
        return 10.0 + 0.1 * seed + (15.0 + 0.05 * seed if "other" in arm else 0.0) + own

    judged, note = told(made, observed(made, value), "mine")
    assert judged.verdict is verdict
    assert says in note
    if not says:
        assert note == ""


def test_one_seed_is_called_one_seed():
    made = design("other", "mine")
    judged, note = told(made, observed(made, lambda arm, seed: 10.0 + len(arm), seeds=(0,)), "mine", seeds=(0,))
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert note == "alone +1 dB, given the rest +1 dB, on one seed only, so nothing is concluded"


def test_bit_identity_acquits_unless_the_treatment_never_acted():
    made = design("a", "b")

    def value(arm, seed):
        return 10.0 + seed + (5.0 if "b" in arm else 0.0)

    judged, note = told(made, observed(made, value, seeds=(0,)), "a", seeds=(0,))
    assert judged.verdict is Verdict.NO_EFFECT
    assert "bit-identical" in note
    judged, note = told(made, observed(made, value, seeds=(0,), hits={"a": 0}), "a", seeds=(0,))
    assert judged.verdict is Verdict.INCONCLUSIVE
    assert "never acted" in note


def test_equal_weights_with_other_predictions_acquit_nobody():
    made = design("a")
    book = Results()
    for seed in (0, 1, 2):
        for arm, figure in ((frozenset(), 10.0 + seed), (frozenset({"a"}), 15.0 + seed)):
            scored = ArmScore(arm=tuple(arm), values={"psnr": figure}, predictions=str(figure))
            book.enter(JobResult(seed=seed, steps=1, arms=(scored,), weights="same"), [arm])
    judged, _ = told(made, book, "a")
    assert judged.identity.weights
    assert judged.verdict is Verdict.PROVEN


@pytest.mark.parametrize(("level", "verdict"), [(1.0, Verdict.INCONCLUSIVE), (0.8, Verdict.NO_EFFECT)])
def test_where_the_metric_is_at_its_best_nobody_is_acquitted(level, verdict):
    """An accuracy of one with and without a treatment: it cannot show what the treatment is worth."""
    made = design("a")
    book = Results()
    for seed in (0, 1, 2):
        for arm in made.arms():
            scored = ArmScore(arm=tuple(arm), values={"acc": level - 1e-4 * seed}, predictions=f"{arm}{seed}")
            book.enter(JobResult(seed=seed, steps=1, arms=(scored,), weights=f"{arm}{seed}"), [arm])
    judged = judge(made, book, (0, 1, 2), "acc", Metric(lambda p, t: 0.0, best=1.0))
    note = explain(judged["a"], judged, made, book, (0, 1, 2), "", {"a": "a"})
    assert judged["a"].verdict is verdict
    assert ("best value" in note) == (level == 1.0)


def test_the_margin_is_the_authors_or_a_thousandth_of_the_figure():
    assert margin(METRIC, [25.0]) == 0.3
    assert margin(Metric(lambda p, t: 0.0), [20.0, 30.0, -25.0]) == pytest.approx(0.025)
    assert margin(Metric(lambda p, t: 0.0), [math.nan]) == 0.0


def test_rows_are_ranked_by_what_they_are_worth():
    made = design("small", "large", "none")

    def value(arm, seed):
        return 10.0 + 0.3 * seed + ("small" in arm) * (2 + 0.01 * seed) + ("large" in arm) * (7 + 0.02 * seed)

    book = observed(made, value)
    judged = judge(made, book, (0, 1, 2), "psnr", METRIC)
    names = {name: name for name in judged}
    rows = results(made, book, judged, (0, 1, 2), "dB", labels=names, codes={"large": ["M210"]}, moved={})
    assert [row.treatment for row in rows] == ["large", "small", "none"]
    assert rows[0].codes == ("M210",)
    assert rows[2].bit_identical
    moved = results(made, book, judged, (0, 1, 2), "dB", labels=names, codes={}, moved={"large": "it moved"})
    assert moved[0].verdict is Verdict.INCONCLUSIVE
    assert moved[0].note == "it moved"


@pytest.mark.parametrize(
    ("gain", "diverged", "verdict"),
    [
        (-5.0, "", Verdict.HARMFUL),
        (-5.0, "without", Verdict.INCONCLUSIVE),  # worse where both ran, and better where one did not
        (-5.0, "with", Verdict.HARMFUL),
        (5.0, "with", Verdict.INCONCLUSIVE),
        (5.0, "without", Verdict.PROVEN),
    ],
)
def test_pairs_that_are_lost_to_divergence_are_not_left_out_of_the_verdict(gain, diverged, verdict):
    made = design("mine")
    treated, untreated = frozenset({"mine"}), frozenset()
    book = observed(made, lambda arm, seed: 10.0 + 0.1 * seed + (gain + 0.01 * seed**2 if arm else 0.0))
    if diverged:
        for arm in (treated, untreated):
            lost = (arm == treated) is (diverged == "with")
            scored = ArmScore(arm=tuple(arm), values={"psnr": math.nan if lost else 11.0}, predictions=f"{arm}")
            why = "the loss is nan at iteration 3" if lost else ""
            book.enter(JobResult(seed=3, steps=1, arms=(scored,), weights=f"{arm}", diverged=why), [arm])
    judged, note = told(made, book, "mine", (0, 1, 2, 3) if diverged else (0, 1, 2))
    assert judged.verdict is verdict
    assert ("diverges on 1 of 4 seeds" in note) is bool(diverged)


@pytest.mark.parametrize("seeds", [2, 3, 5])
def test_early_looks_share_a_fifth_of_the_level(seeds):
    spent = [look_level(look, seeds) for look in range(2, seeds + 1)]
    assert sum(spent) == pytest.approx(LEVEL)
    assert spent[-1] == pytest.approx(LEVEL if seeds == 2 else 0.8 * LEVEL)


@pytest.mark.parametrize(("asked", "seeds"), [(3, 4), (3, 5), (3, 12), (2, 6)])
def test_added_seeds_spend_no_more_than_the_level(asked, seeds):
    spent = [look_level(look, seeds, asked) for look in range(2, seeds + 1)]
    assert sum(spent) == pytest.approx(LEVEL)
    assert spent[-1] == max(spent)
    assert spent[-1] > 0.6 * LEVEL


def test_what_a_look_may_spend_does_not_depend_on_how_many_follow():
    for look in (2, 3, 5, 8):
        assert len({look_level(look, seeds, 3) for seeds in range(look + 1, 13)}) == 1


def test_the_interval_in_the_table_says_what_the_verdict_says():
    """Four treatments, one of them beyond chance by itself and not among four: the figures of a false contradiction."""
    made = design("a", "b", "c", "d")
    gains = {"a": (0.2, 0.4, 0.6), "b": (0.1, -0.3, 0.2), "c": (-0.1, 0.3, -0.2), "d": (0.3, -0.2, 0.0)}

    def value(arm, seed):
        return 10.0 + 0.37 * seed**2 + sum(gains[name][seed] for name in arm)

    metric = Metric(lambda p, t: 0.0, negligible=1e-6)
    judged = judge(made, observed(made, value), (0, 1, 2), "psnr", metric)
    effect = judged["a"].effects["given rest"]
    assert judged["a"].verdict is Verdict.INCONCLUSIVE
    assert effect.low < 0 < effect.high
    proven = judge(
        design("a"), observed(design("a"), lambda arm, seed: 5 * len(arm) + value(arm, seed)), (0, 1, 2), "psnr", metric
    )
    assert proven["a"].verdict is Verdict.PROVEN
    assert proven["a"].effects["given rest"].low > 0


@pytest.mark.parametrize("treatments", [1, 4])
def test_innocents_are_rarely_convicted_however_many_are_tried_and_however_often_one_looks(treatments):
    """Family-wise error of convictions under the null, with early looks: at most 5 % (binomial slack of 3 sd)."""
    generator = np.random.default_rng(0)
    made = design(*(f"t{i}" for i in range(treatments)))
    arms = made.arms()
    trials, convicted = 600, 0
    for _ in range(trials):
        noise = {(arm, seed): float(generator.normal()) for arm in arms for seed in (0, 1, 2)}
        book = observed(made, lambda arm, seed, noise=noise: 20.0 + noise[arm, seed])
        fault_found = False
        for look in (2, 3):
            judged = judge(made, book, range(look), "psnr", METRIC, look_level(look, 3))
            fault_found |= any(one.verdict in (Verdict.PROVEN, Verdict.HARMFUL) for one in judged.values())
        convicted += fault_found
    assert convicted / trials < 0.05 + 3 * math.sqrt(0.05 * 0.95 / trials)


def test_a_fifth_of_what_seeds_differ_by_is_of_no_importance_once_there_are_five():
    metric = Metric(lambda p, t: 0.0)
    seeds = [10.0, 10.4, 9.6, 10.2, 9.8]
    assert margin(metric, seeds, seeds) == pytest.approx(0.2 * math.sqrt(0.1))
    assert margin(metric, seeds, seeds[:4]) == pytest.approx(0.01)
    assert margin(METRIC, seeds, seeds) == 0.3


@pytest.mark.parametrize(("shift", "verdict"), [(0.02, Verdict.NO_EFFECT), (0.3, Verdict.PROVEN)])
def test_what_is_certain_and_far_below_the_spread_of_seeds_is_no_help(shift, verdict):
    """Every pair says +0.02 where seeds differ by 0.3: certain, and nobody would notice it."""
    made = design("a")
    start = [10.0, 10.4, 9.6, 10.2, 9.8, 10.3]
    book = observed(made, lambda arm, seed: start[seed] + ("a" in arm) * (shift + 1e-3 * (-1) ** seed), range(6))
    judged = judge(made, book, range(6), "psnr", Metric(lambda p, t: 0.0, higher_is_better=True))
    assert judged["a"].verdict is verdict


def test_what_broke_some_runs_is_not_acquitted_by_the_others():
    made = design("a")
    start = [10.0, 10.4, 9.6, 10.2, 9.8, 10.3]
    book = observed(made, lambda arm, seed: start[seed] + ("a" in arm) * 1e-3 * (-1) ** seed, range(6))
    plain = Metric(lambda p, t: 0.0, higher_is_better=True)
    assert judge(made, book, range(6), "psnr", plain)["a"].verdict is Verdict.NO_EFFECT
    treated = next(arm for arm in made.arms() if "a" in arm)
    book.scores.pop((5, treated))
    book.broke[5, treated] = "AssertionError"
    assert judge(made, book, range(6), "psnr", plain)["a"].verdict is Verdict.INCONCLUSIVE


def test_no_interval_is_shown_of_what_divergence_decides():
    """A figure that was read before a training broke down says nothing of how much is gained."""
    made = design("a")
    book = Results()
    for seed in (0, 1):
        for arm in made.arms():
            treated = "a" in arm
            scored = ArmScore(arm=tuple(arm), values={"psnr": 20.0 if treated else 1.0}, predictions=f"{arm}{seed}")
            book.enter(
                JobResult(
                    seed=seed, steps=1, arms=(scored,), weights=f"{arm}{seed}", diverged="" if treated else "nan"
                ),
                [arm],
            )
    judged = judge(made, book, (0, 1), "psnr", METRIC)["a"]
    assert judged.verdict is Verdict.PROVEN
    assert set(judged.effects.values()) == {None}
