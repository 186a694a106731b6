"""From the trial table back to the findings, and the scoring metric's own parts."""

from __future__ import annotations

import pytest
import torch
from trial_cases import diffusion, finding, linear_batches, noisy_regression, psnr

import traindx as dx
from traindx.diagnosis import TreatmentResult, TrialTable
from traindx.finding import Effect, Standing, Verdict
from traindx.trials import apply_results
from traindx.trials.baselines import nearest, trivial_baselines
from traindx.trials.scoring import score
from traindx.trials.scoring_metric import ScoringMetric, Units, blurred, fixed_predictors, moved, score_fixed


def effect(mean):
    return Effect(mean=mean, low=mean - 1, high=mean + 1, n=3, differences=(mean,) * 3)


def result(name, verdict, mean=0.0, **more):
    return TreatmentResult(treatment=name, verdict=verdict, alone=effect(mean), given_rest=effect(mean), **more)


def judged(findings, *results):
    return apply_results(findings, TrialTable(metric="psnr", unit="dB", results=results))


def test_proven_and_innocent_set_the_standing_and_nothing_else_does():
    findings = [finding("A", "a"), finding("B", "b"), finding("C", "c"), finding("D", "d"), finding("E", "e")]
    after = judged(
        findings,
        result("a", Verdict.PROVEN, 5.0),
        result("b", Verdict.NO_EFFECT),
        result("c", Verdict.CONTRIBUTORY, 2.0),
        result("d", Verdict.HARMFUL, -3.0),
        result("e", Verdict.INCONCLUSIVE),
    )
    assert [item.standing for item in after] == [
        Standing.PROVEN,
        Standing.REFUTED,
        Standing.DEMONSTRATED,
        Standing.DEMONSTRATED,
        Standing.DEMONSTRATED,
    ]
    assert [item.worth.verdict for item in after][2:] == [
        Verdict.CONTRIBUTORY,
        Verdict.HARMFUL,
        Verdict.INCONCLUSIVE,
    ]
    assert after[0].worth.given_rest.mean == 5.0
    assert after[0].worth.unit == "dB"


def test_findings_without_proposals_or_rows_stay_as_they_are():
    findings = [finding("A"), finding("B", "b")]
    assert judged(findings, result("other", Verdict.PROVEN)) == findings


def test_one_guilty_treatment_is_enough_and_one_untried_one_prevents_acquittal():
    one = finding("A", "a", "b", standing="suspected")
    (proven,) = judged([one], result("a", Verdict.NO_EFFECT), result("b", Verdict.PROVEN, 3.0))
    assert proven.standing is Standing.PROVEN
    (still,) = judged([one], result("a", Verdict.NO_EFFECT), result("b", Verdict.INCONCLUSIVE, note="not run: x"))
    assert still.standing is Standing.SUSPECTED
    assert still.worth.note == "not run: x"
    (refuted,) = judged([one], result("a", Verdict.NO_EFFECT), result("b", Verdict.NO_EFFECT))
    assert refuted.standing is Standing.REFUTED


def test_the_larger_of_two_proven_worths_is_told():
    (after,) = judged([finding("A", "a", "b")], result("a", Verdict.PROVEN, 3.0), result("b", Verdict.PROVEN, 7.0))
    assert after.worth.given_rest.mean == 7.0


def test_two_places_of_one_rule_keep_their_own_worth():
    here, there = ({"file": "m.py", "line": line} for line in (3, 9))
    findings = [finding("L306", ("unclamp", here)), finding("L306", ("unclamp", there))]
    after = judged(
        findings,
        result("unclamp(file=m.py, line=3)", Verdict.NO_EFFECT),
        result("unclamp(file=m.py, line=9)", Verdict.PROVEN, 4.0),
    )
    assert [item.standing for item in after] == [Standing.REFUTED, Standing.PROVEN]


def test_a_refuted_property_keeps_what_was_shown_and_says_that_it_is_not_the_cause():
    (demonstrated,) = judged([finding("S501", "a")], result("a", Verdict.NO_EFFECT, note="bit-identical"))
    assert "not the cause (bit-identical)" in demonstrated.worth.note
    (suspected,) = judged([finding("S501", "a", standing="suspected")], result("a", Verdict.NO_EFFECT, note="why"))
    assert suspected.worth.note == "why"


# -------------------------------------------------------------------------------------------- the scoring metric


def test_fixed_predictors_are_what_they_say():
    truth, typical = torch.randn(3, 1, 6, 6), torch.randn(5, 1, 6, 6)
    made = fixed_predictors(truth, typical)
    assert torch.equal(made["zeros"], torch.zeros_like(truth))
    assert torch.allclose(made["constant"], typical.mean().expand_as(truth))
    assert torch.allclose(made["mean image"][2], typical.mean(dim=0))
    assert torch.equal(made["another sample"][0], typical[2])
    window = truth[0, 0, 1:4, 2:5].mean()
    assert float(made["blurred truth"][0, 0, 2, 3]) == pytest.approx(float(window), abs=1e-5)


def test_blurring_keeps_a_constant_and_works_in_three_dimensions():
    volume = torch.full((2, 1, 4, 5, 6), 0.7)
    assert torch.allclose(blurred(volume), volume)
    bright = torch.zeros(1, 1, 5, 5, 5)
    bright[0, 0, 2, 2, 2] = 27.0
    assert torch.allclose(blurred(bright)[0, 0, 1:4, 1:4, 1:4], torch.ones(3, 3, 3))


def test_a_yardstick_that_did_not_move_says_nothing_and_one_that_did_says_by_how_much():
    case = noisy_regression()
    scoring_metric = ScoringMetric.of(case)
    plain = score_fixed(scoring_metric, case, "psnr")
    assert moved(plain, score_fixed(scoring_metric, case, "psnr")) == {}
    doubled = case.replace(target=lambda batch: 2 * batch["y"])
    shifts = moved(plain, score_fixed(scoring_metric, doubled, "psnr"))
    assert shifts["zeros"] == pytest.approx(-6.0206, abs=1e-3)


def test_metrics_see_all_samples_at_once():
    case = noisy_regression()
    predictions, truths = [torch.zeros(3, 1), torch.zeros(1, 1)], [torch.ones(3, 1), torch.full((1, 1), 5.0)]
    together = ScoringMetric.of(case).measure("psnr", predictions, truths)
    assert together == pytest.approx(float(psnr(torch.zeros(4, 1), torch.cat(truths))))
    assert together != pytest.approx(sum(float(psnr(p, t)) for p, t in zip(predictions, truths, strict=True)) / 2)


def test_shapes_that_differ_are_averaged_by_size():
    case = noisy_regression(metrics={"mae": dx.Metric(lambda p, t: (p - t).abs().mean(), higher_is_better=False)})
    predictions, truths = [torch.zeros(3, 2), torch.zeros(1, 5)], [torch.ones(3, 2), torch.full((1, 5), 5.0)]
    assert ScoringMetric.of(case).measure("mae", predictions, truths) == pytest.approx((3 * 1 + 1 * 5) / 4)


def test_units_follow_what_metric_and_normalisers_allow():
    case = noisy_regression()
    assert ScoringMetric.of(case, [case]).units is Units.NETWORK
    scale = dx.Normaliser(lambda raw: raw / 10, lambda value: value * 10)
    assert ScoringMetric.of(case.replace(normaliser=scale)).units is Units.NETWORK
    other = dx.Normaliser(lambda raw: raw / 5, lambda value: value * 5)
    with_scale = case.replace(normaliser=scale)
    assert ScoringMetric.of(with_scale, [case.replace(normaliser=other)]).units is Units.CONTROL
    raw = case.replace(normaliser=scale, metrics={"psnr": dx.Metric(psnr, raw=psnr)})
    assert ScoringMetric.of(raw).units is Units.RAW


def test_raw_scores_agree_with_the_case():
    scale = dx.Normaliser(lambda raw: raw / 10, lambda value: value * 10, raw=lambda batch: 10 * batch["y"])
    case = noisy_regression(
        normaliser=scale, metrics={"psnr": dx.Metric(psnr, raw=psnr)}, val=linear_batches(1, seed=2)
    )
    model = case.model()
    batch = case.val[0]
    with torch.no_grad():
        expected = case.score(case.prediction(model, batch), batch)
    assert score(case, model, 0).values["psnr"] == pytest.approx(expected, abs=1e-5)


def test_the_nearest_neighbour_is_the_closest_other_training_sample():
    case = noisy_regression()
    batch = case.val[0]
    known = torch.cat([item["x"] for item in case.train])
    expected = torch.cdist(batch["x"].double(), known.double()).argmin(dim=1)
    assert torch.equal(nearest(case, batch), expected)
    own = nearest(case, case.train[0])  # a training sample is not its own neighbour
    assert not torch.equal(own, torch.arange(16))


def test_baselines_of_images_use_the_conditions():
    case = diffusion()
    names = {item.name for item in trivial_baselines(case, ScoringMetric.of(case), "psnr")}
    assert names == {"zeros", "mean image", "another sample", "nearest neighbour"}
    spatially_invariant = case.replace(conditions=())
    assert trivial_baselines(spatially_invariant, ScoringMetric.of(spatially_invariant), "psnr")
