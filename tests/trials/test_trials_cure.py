"""The fix: what helped is put in place, what harms or does nothing is not."""

from __future__ import annotations

import pytest
from trial_cases import finding, noisy_regression, treated

from traindx.diagnosis import TreatmentResult, TrialTable
from traindx.finding import Effect, Verdict
from traindx.trials import run_trials, score, train
from traindx.trials.cure import cure, helpful

SHRINK = ("drop-term", {"term": "shrink"})


def row(name, verdict, rest):
    effect = Effect(mean=rest, low=rest - 0.1, high=rest + 0.1, n=3, differences=(rest,) * 3)
    return TreatmentResult(treatment=name, verdict=verdict, alone=effect, given_rest=effect)


def test_only_what_helps_and_harms_nowhere_is_put_in_place():
    table = TrialTable(
        metric="psnr",
        results=(
            row("proven", Verdict.PROVEN, 5.0),
            row("masked", Verdict.CONTRIBUTORY, 0.0),
            row("backfires", Verdict.CONTRIBUTORY, -2.0),
            row("harmful", Verdict.HARMFUL, -2.0),
            row("open", Verdict.INCONCLUSIVE, 1.0),
            row("innocent", Verdict.NO_EFFECT, 0.0),
        ),
    )
    assert helpful(table) == ("proven", "masked")


def test_the_cured_case_is_trained_with_the_treatments_and_measured_by_the_trials_yardstick():
    case = noisy_regression()
    findings = [finding("L302", SHRINK), finding("L303", ("drop-term", {"term": "frozen"}))]
    table = run_trials(case, findings, budget=60)
    cured = cure(case, findings, table)
    assert cured.treatments == ("drop-term(term=shrink)",)
    expected = treated(case, SHRINK[0], **SHRINK[1])
    trained = train(expected, 0)
    assert cured.trained.weights == trained.weights
    assert cured.value == pytest.approx(score(expected, trained.model, 0).values["psnr"])
    longer = cure(case, findings, table, steps=130)
    assert longer.trained.steps == 130
    assert cure(case, findings, table, steps=100000, seconds=0.3).trained.steps < 100000


def test_without_a_helpful_treatment_there_is_no_cure():
    case = noisy_regression(steps=10)
    table = TrialTable(metric="psnr", results=(row("drop-term", Verdict.NO_EFFECT, 0.0),))
    assert cure(case, [finding("L303", ("drop-term", {"term": "frozen"}))], table) is None
