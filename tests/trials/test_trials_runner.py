"""Trials from findings to verdicts: guilt, innocence, masking, breakage, budget, resumption."""

from __future__ import annotations

import importlib
import json
import math
import sys
import time
from pathlib import Path

import pytest
import torch
from torch import nn
from trial_cases import diffusion, finding, linear_batches, noisy_regression, psnr, regression, treated, untimed

import traindx as dx
from traindx.diagnosis import TrialTable
from traindx.errors import CaseError
from traindx.finding import Standing, Verdict
from traindx.trials import apply_results, run_trials, score, train, train_control
from traindx.trials.jobs import run_job
from traindx.trials.reference import CaseReference
from traindx.trials.resume_log import fingerprint

SHRINK = ("drop-term", {"term": "shrink"})
FROZEN = ("drop-term", {"term": "frozen"})


def row(table, name):
    (found,) = [item for item in table.results if item.treatment == name]
    return found


def arm(table, name):
    (found,) = [item for item in table.arms if item.name == name]
    return found


def measured(case, seeds=(0, 1, 2), metric="psnr"):
    """The metric by seed, without the trials room's bookkeeping."""
    return [score(case, train(case, seed).model, seed).values[metric] for seed in seeds]


def test_a_guilty_treatment_is_proven_and_its_interval_covers_the_effect_measured_directly():
    case = noisy_regression()
    table = run_trials(case, [finding("L302", SHRINK)], budget=60)
    result = row(table, "drop-term")
    assert result.verdict is Verdict.PROVEN
    assert result.codes == ("L302",)
    direct = [a - b for a, b in zip(measured(treated(case, *SHRINK[:1], **SHRINK[1])), measured(case), strict=True)]
    assert result.alone.differences == pytest.approx(direct)
    # other seeds than those of the trial: an effect that generalises, and not the trial's own numbers again
    fresh = (10, 11, 12, 13)
    other = [
        a - b
        for a, b in zip(measured(treated(case, *SHRINK[:1], **SHRINK[1]), fresh), measured(case, fresh), strict=True)
    ]
    assert result.alone.low <= sum(other) / len(other) <= result.alone.high
    assert result.alone == result.given_rest
    assert table.complete
    assert table.steps == 120
    assert [item.name for item in table.arms] == ["none", "all"]


def test_a_placebo_is_bit_identical_and_acquitted_by_one_seed():
    trained = []
    case = noisy_regression()
    case = case.replace(model=lambda: (trained.append(1), nn.Linear(6, 1))[1])
    findings = [finding("L303", FROZEN, standing="demonstrated")]
    table = run_trials(case, findings, budget=60)
    result = row(table, "drop-term")
    assert result.verdict is Verdict.NO_EFFECT
    assert result.bit_identical
    assert result.alone.differences == (0.0,)
    assert "bit-identical" in result.note
    (judged,) = apply_results(findings, table)
    assert judged.standing is Standing.REFUTED
    assert "not the cause" in judged.worth.note
    assert len(arm(table, "none").values) == 1


def test_guilty_and_innocent_are_told_apart_in_one_trial():
    case = noisy_regression()
    findings = [
        finding("L302", SHRINK),
        finding("L303", FROZEN),
        finding("O401", ("learning-rate", {"factor": 1.0}), standing="suspected"),
    ]
    table = run_trials(case, findings, budget=60)
    assert row(table, "drop-term(term=shrink)").verdict is Verdict.PROVEN
    assert row(table, "drop-term(term=frozen)").verdict is Verdict.NO_EFFECT
    assert row(table, "learning-rate").verdict is Verdict.NO_EFFECT
    assert table.results[0].treatment == "drop-term(term=shrink)"
    assert [item.standing for item in apply_results(findings, table)] == [
        Standing.PROVEN,
        Standing.REFUTED,
        Standing.REFUTED,
    ]
    # settled treatments cost nothing after the first seed
    assert len(arm(table, "only drop-term(term=frozen)").values) == 1
    assert arm(table, "only drop-term(term=frozen)").settled
    baselines = {item.name: item.value for item in table.baselines}
    assert {"zeros", "mean image", "another sample", "nearest neighbour"} == set(baselines)
    truth = torch.cat([batch["y"] for batch in linear_batches(2, seed=1, noise=0.4)])
    assert baselines["zeros"] == pytest.approx(float(psnr(torch.zeros_like(truth), truth)))


def test_treatments_that_undo_the_cure_do_not_acquit_its_cause():
    """Two harmful treatments: leaving one of them out still leaves the other, so the cause would go unseen."""
    case = noisy_regression()
    findings = [
        finding("L302", SHRINK),
        finding("L301", ("flip-term", {"term": "fit"})),
        finding("O401", ("learning-rate", {"factor": 1e-6})),
    ]
    table = run_trials(case, findings, budget=60)
    assert row(table, "drop-term").verdict is Verdict.PROVEN
    assert row(table, "flip-term").verdict is Verdict.HARMFUL
    assert row(table, "learning-rate").verdict is Verdict.HARMFUL
    assert any("undoes what they gain" in note and "flip-term" in note for note in table.notes)


@pytest.fixture(scope="module")
def masked():
    """The wrong epsilon formula in front of a bottlenecked decoder."""
    case = diffusion(wrong_epsilon=True, steps=150)
    findings = [finding("M210", "full-resolution-skip"), finding("S501", "reference-sampler")]
    return case, findings, run_trials(case, findings, budget=100)


def test_masking_is_reported_as_such(masked):
    _, _, table = masked
    sampler = row(table, "reference-sampler")
    # alone the right formula makes it worse: it uncovers a decoder that emits noise
    assert sampler.alone.high < -3
    assert sampler.given_rest.mean > -0.5
    assert sampler.verdict is not Verdict.NO_EFFECT
    assert "alone −" in sampler.note
    assert "full-resolution-skip" in sampler.note
    skip = row(table, "full-resolution-skip")
    assert skip.verdict is Verdict.PROVEN
    assert skip.given_rest.low > 8
    assert table.results[0] == skip


def test_sampling_treatments_share_the_training(masked, monkeypatch):
    case, findings, _ = masked
    jobs = []

    def spied(case, job, *rest, **more):
        jobs.append(job)
        return run_job(case, job, *rest, **more)

    monkeypatch.setattr("traindx.trials.executor.run_job", spied)
    table = run_trials(case, findings, budget=100, seeds=(0,), steps=10)
    assert len(table.arms) == 4
    assert sorted(job.training for job in jobs) == [(), ("full-resolution-skip",)]


def test_the_same_trial_gives_the_same_table(masked):
    case, findings, table = masked
    again = run_trials(case, findings, budget=100)
    assert untimed(again) == untimed(table)


def test_a_control_that_was_trained_before_is_used(monkeypatch):
    case, findings = diffusion(wrong_epsilon=True, steps=15), [finding("S501", "reference-sampler")]
    expected = run_trials(case, findings, budget=100, seeds=(0, 1))
    trained = []

    def spied(case, job, control=None, on_step=None):
        trained.append((job.seed, control is None))
        return run_job(case, job, control, on_step)

    monkeypatch.setattr("traindx.trials.executor.run_job", spied)
    monkeypatch.setattr("traindx.trials.case.backend.run_job", spied)
    again = run_trials(case, findings, budget=100, seeds=(0, 1), control=train_control(case, 0))
    assert again.arms == expected.arms
    assert trained == [(0, False), (1, True)]
    # one that was trained otherwise is not comparable bit by bit, so it is trained again
    trained.clear()
    run_trials(case, findings, budget=100, seeds=(0, 1), control=train_control(case, 0, steps=14))
    assert trained == [(0, True), (1, True)]


def test_what_cannot_be_tried_is_listed_with_the_reason():
    findings = [
        finding("D102", ("window", {"low": -1000})),
        finding("S501", "reference-sampler"),
        finding("L306", ("unclamp", {"file": __file__, "line": 1})),
    ]
    table = run_trials(noisy_regression(), findings, budget=60, seeds=(0,))
    assert row(table, "window").note == "not run: the case offers no treatment 'window'"
    assert "diffusion part" in row(table, "reference-sampler").note
    unclamp = row(table, "unclamp")
    assert unclamp.verdict is Verdict.INCONCLUSIVE  # bit-identical, but only because the line is never reached
    assert "never acted" in unclamp.note
    judged = apply_results(findings, table)
    assert [item.standing for item in judged] == [Standing.DEMONSTRATED] * 3
    assert all(item.worth.verdict is Verdict.INCONCLUSIVE for item in judged)


def broken_by(case):
    """A treatment that breaks the case."""

    def loss(model, batch):
        return model(batch["x"][:, :3]).mean()

    return case.replace(loss=loss)


def test_a_treatment_that_breaks_the_case_is_reported_and_kills_nothing_else():
    case = noisy_regression(treatments={"views": broken_by})
    findings = [finding("M205", "views", standing="suspected"), finding("L302", SHRINK)]
    table = run_trials(case, findings, budget=60)
    broken = row(table, "views")
    assert broken.verdict is Verdict.INCONCLUSIVE
    assert broken.note.startswith("broke: ")
    assert "test_trials_runner.py:" in broken.note
    assert row(table, "drop-term").verdict is Verdict.PROVEN
    assert any("broke by itself: views" in note for note in table.notes)


def nan_loss(case):
    """A treatment under which training diverges."""

    def loss(model, batch):
        terms = case.loss_terms(model, batch)
        return {**terms, "bad": torch.log(model.weight.square().sum() - 1e9)}

    return case.replace(loss=loss)


def test_a_treatment_that_makes_training_diverge_is_harmful_and_says_where():
    case = noisy_regression(treatments={"log": nan_loss})
    table = run_trials(case, [finding("L310", "log")], budget=60)
    result = row(table, "log")
    assert result.verdict is Verdict.HARMFUL
    assert "with it training diverges on 2 of 2 seeds" in result.note


def test_a_treatment_that_cures_divergence_is_proven():
    case = noisy_regression()
    base = case.loss
    sick = case.replace(loss=lambda m, b: {**base(m, b), "bad": torch.log(m.weight.square().sum() - 1e9)})
    table = run_trials(sick, [finding("L311", ("drop-term", {"term": "bad"}))], budget=60)
    result = row(table, "drop-term")
    assert result.verdict is Verdict.PROVEN
    assert "without it training diverges on 2 of 2 seeds: the loss is not a number at step 0" in result.note


def test_one_seed_decides_nothing_but_bit_identity():
    table = run_trials(noisy_regression(), [finding("L302", SHRINK)], budget=60, seeds=(0,))
    result = row(table, "drop-term")
    assert result.verdict is Verdict.INCONCLUSIVE
    assert result.note == "one seed only, so nothing is concluded"
    assert math.isnan(result.alone.low)


def test_a_case_that_does_not_run_raises_with_the_line():
    def loss(model, batch):
        return batch["nothing"]

    with pytest.raises(CaseError, match=r"test_trials_runner.py:\d+"):
        run_trials(noisy_regression(loss=loss), [finding("L302", "learning-rate")], budget=10)


def test_without_proposals_only_the_control_is_run():
    table = run_trials(noisy_regression(), [finding("Y705")], budget=60)
    assert [item.name for item in table.arms] == ["none"]
    assert len(table.arms[0].values) == 1
    assert table.results == ()
    assert table.baselines


# ------------------------------------------------------------------------------------------------------------ budget


def slow(case, seconds=0.004):
    loss = case.loss
    return case.replace(loss=lambda model, batch: (time.sleep(seconds), loss(model, batch))[1])


@pytest.mark.parametrize("budget", [1.5, 3.0, 6.0])
def test_the_budget_is_kept_within_a_fifth(budget):
    case = slow(noisy_regression(steps=60))  # about .25 s a training
    findings = [
        finding("L302", SHRINK, severity="critical"),
        finding("L303", FROZEN),
        finding("O402", ("learning-rate", {"factor": 0.5})),
        finding("O401", ("learning-rate", {"factor": 2.0}), standing="suspected"),
    ]
    begun = time.monotonic()
    table = run_trials(case, findings, budget=budget)
    took = time.monotonic() - begun
    assert took <= 1.2 * budget + 0.3  # a step, a score and the start are not cut
    if budget < 6:
        assert not table.complete
        assert table.notes


def test_a_budget_shorter_than_one_training_says_so():
    table = run_trials(slow(noisy_regression(), 0.02), [finding("L302", SHRINK)], budget=0.5)
    assert not table.complete
    assert any("did not fit" in note for note in table.notes)
    assert row(table, "drop-term").verdict is Verdict.INCONCLUSIVE


def test_without_time_nothing_is_tried_and_that_is_said():
    table = run_trials(noisy_regression(), [finding("L302", SHRINK)], budget=0.0)
    assert not table.complete
    assert "no time was left for trials" in table.notes
    assert row(table, "drop-term").note == "not tried: the budget ended first"


def test_progress_counts_up_and_estimates_the_time_left():
    recorded = []
    run_trials(noisy_regression(), [finding("L302", SHRINK)], budget=60, progress=recorded.append)
    assert {item.stage for item in recorded} == {"trials"}
    assert any(item.seconds_left is not None and item.seconds_left <= 60 for item in recorded)
    assert all(0 <= item.done <= item.total for item in recorded)
    assert any("drop-term" in item.message for item in recorded)


# ------------------------------------------------------------------------------------------------------- resumption


def test_an_interrupted_trial_goes_on_and_gives_the_same_table(tmp_path, monkeypatch):
    case = noisy_regression(steps=60)
    findings = [finding("L302", SHRINK), finding("O402", ("learning-rate", {"factor": 0.5}))]
    whole = run_trials(case, findings, budget=60)
    runs = []

    def dying(case, job, *rest, **more):
        if len(runs) == 5:
            raise KeyboardInterrupt
        runs.append(job.key)
        return run_job(case, job, *rest, **more)

    monkeypatch.setattr("traindx.trials.executor.run_job", dying)
    with pytest.raises(KeyboardInterrupt):
        run_trials(case, findings, budget=60, directory=tmp_path)
    monkeypatch.undo()
    log = tmp_path / "trials.jsonl"
    assert len(log.read_text().splitlines()) == 5
    with log.open("a") as half:
        half.write('{"fingerprint": "torn')  # the writer was killed in the middle of a line
    again = []

    def counted(case, job, *rest, **more):
        again.append(job.key)
        return run_job(case, job, *rest, **more)

    monkeypatch.setattr("traindx.trials.executor.run_job", counted)
    resumed = run_trials(case, findings, budget=60, directory=tmp_path)
    assert not set(runs) & set(again)
    assert untimed(resumed) == untimed(whole)
    again.clear()
    run_trials(case, findings, budget=60, directory=tmp_path)
    assert again == []


@pytest.mark.parametrize(
    "change",
    [
        {"steps": 60},
        {"train": linear_batches(noise=0.3)},
        {"loss": lambda model, batch: (model(batch["x"]) - batch["y"]).abs().mean()},
        {"model": lambda: nn.Linear(6, 1, bias=False)},
        {"name": "another"},
    ],
    ids=["steps", "data", "loss", "model", "name"],
)
def test_a_changed_case_does_not_go_on_from_another_ones_journal(tmp_path, change):
    findings = [finding("O402", ("learning-rate", {"factor": 0.5}))]
    run_trials(noisy_regression(steps=30), findings, budget=60, seeds=(0,), directory=tmp_path)
    lines = len((tmp_path / "trials.jsonl").read_text().splitlines())
    run_trials(noisy_regression(**{"steps": 30, **change}), findings, budget=60, seeds=(0,), directory=tmp_path)
    assert len((tmp_path / "trials.jsonl").read_text().splitlines()) == 2 * lines


def test_a_changed_loss_is_noticed_even_where_its_source_is_the_same(tmp_path):
    def weighted(factor):
        return lambda model, batch: factor * (model(batch["x"]) - batch["y"]).square().mean()

    findings = [finding("O402", ("learning-rate", {"factor": 0.5}))]
    for factor, lines in ((1.0, 2), (1.0, 2), (2.0, 4)):
        case = noisy_regression(steps=10, loss=weighted(factor))
        run_trials(case, findings, budget=60, seeds=(0,), directory=tmp_path)
        assert len((tmp_path / "trials.jsonl").read_text().splitlines()) == lines


def test_a_changed_neighbour_of_the_case_file_is_noticed(tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(tmp_path))
    (tmp_path / "my_case_file.py").write_text(
        f"import sys\nsys.path.insert(0, {str(Path(__file__).parent)!r})\nfrom trial_cases import noisy_regression\n"
        "from my_sampler import predict\ncase = noisy_regression(predict=lambda m, b: predict(m, b))\n"
    )
    prints = []
    for factor in (1.0, 1.0, 2.0):
        (tmp_path / "my_sampler.py").write_text(
            f"def predict(model, batch):\n    return {factor} * model(batch['x'])\n"
        )
        for name in ("my_case_file", "my_sampler"):
            sys.modules.pop(name, None)
        importlib.invalidate_caches()
        prints.append(fingerprint(importlib.import_module("my_case_file").case, 10, "", 1))
    assert prints[0] == prints[1] != prints[2]


def test_the_control_is_read_back_after_an_interruption(tmp_path):
    case = diffusion(steps=20)
    first = train_control(case, 0, directory=tmp_path)
    recorded = []
    second = train_control(case, 0, directory=tmp_path, progress=recorded.append)
    assert [item.message for item in recorded] == ["control read back"]
    assert second.weights == first.weights
    assert second.losses == first.losses
    assert score(case, second.model, 0).predictions == score(case, first.model, 0).predictions
    assert train_control(case, 1, directory=tmp_path).weights != first.weights
    (tmp_path / "control.pt").write_bytes(b"not a checkpoint")
    assert train_control(case, 0, directory=tmp_path).weights == first.weights


def test_a_table_survives_json():
    table = run_trials(noisy_regression(), [finding("L302", SHRINK)], budget=60, seeds=(0,))
    assert TrialTable.model_validate(json.loads(table.model_dump_json())).arms == table.arms


# ------------------------------------------------------------------------------------------------ scoring metric


def doubled(case):
    """Learn twice the target: nothing is better, but every squared error is in other units."""
    return case.replace(
        target=lambda batch: 2 * batch["y"],
        loss=lambda model, batch: (model(batch["x"]) - 2 * batch["y"]).square().mean(),
    )


def test_a_treatment_that_moves_the_yardstick_convicts_nobody():
    case = noisy_regression(treatments={"window": doubled})
    findings = [finding("D102", "window"), finding("L302", SHRINK)]
    table = run_trials(case, findings, budget=60)
    window = row(table, "window")
    assert window.verdict is Verdict.INCONCLUSIVE
    assert "changes the meaning of the metric" in window.note
    assert "zeros -6.02" in window.note
    assert row(table, "drop-term").verdict is Verdict.PROVEN
    assert "window" not in arm(table, "only drop-term").treatments


def hounsfield(low, high, **changes):
    """A regression of HU through a window; the metric has a raw form, so the window cannot change what it means."""
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(64, 6, generator=generator)
    raw = 400 * (x @ torch.linspace(-1, 1, 6).view(6, 1))
    batches = [{"x": x[i : i + 16], "hu": raw[i : i + 16]} for i in range(0, 64, 16)]

    def encode(value):
        return (value.clamp(low, high) - low) / (high - low) * 2 - 1

    def decode(value):
        return (value + 1) / 2 * (high - low) + low

    def mae(prediction, target):
        return (prediction - target).abs().mean()

    def rewindow(case, low, high):
        return hounsfield(low, high)

    return dx.Case(
        model=lambda: nn.Linear(6, 1),
        train=batches,
        loss=lambda model, batch: (model(batch["x"]) - encode(batch["hu"])).square().mean(),
        predict=lambda model, batch: model(batch["x"]),
        target=lambda batch: encode(batch["hu"]),
        metrics={"mae": dx.Metric(mae, "HU", higher_is_better=False, negligible=5.0, raw=mae)},
        optimizer=lambda weights: torch.optim.Adam(weights, lr=0.05),
        steps=150,
        parts=(
            dx.Normaliser(encode, decode, raw=lambda batch: batch["hu"]),
            dx.Authoring(treatments={"window": rewindow}),
        ),
        **changes,
    )


def test_a_change_of_window_is_scored_in_raw_units():
    case = hounsfield(-200.0, 200.0)
    table = run_trials(case, [finding("D102", ("window", {"low": -3000.0, "high": 3000.0}))], budget=60)
    result = row(table, "window")
    assert result.verdict is Verdict.PROVEN
    assert "all arms are scored in raw units" in table.notes
    model = train(case, 0).model
    raw = torch.cat([batch["hu"] for batch in case.train])
    predicted = torch.cat([case.normaliser.decode(model(batch["x"]).detach()) for batch in case.train])
    assert arm(table, "none").values[0] == pytest.approx(float((predicted - raw).abs().mean()), rel=1e-5)


def test_without_a_raw_metric_both_normalisers_lead_into_the_controls_units():
    wide = hounsfield(-3000.0, 3000.0)
    metric = {"mae": dx.Metric(wide.metrics["mae"].function, higher_is_better=False)}
    case = wide.replace(
        metrics=metric, treatments={"window": lambda case: hounsfield(-2000.0, 2000.0).replace(metrics=metric)}
    )
    table = run_trials(case, [finding("D102", "window")], budget=60, seeds=(0, 1))
    assert "all arms are scored in the control's network units" in table.notes
    narrow = hounsfield(-2000.0, 2000.0)
    model = train(narrow, 0).model
    raw = torch.cat([batch["hu"] for batch in wide.train])
    predicted = torch.cat([narrow.normaliser.decode(model(batch["x"]).detach()) for batch in wide.train])
    expected = (wide.normaliser.encode(predicted) - wide.normaliser.encode(raw)).abs().mean()
    assert arm(table, "all").values[0] == pytest.approx(float(expected), rel=1e-4)


def test_arms_without_validation_batches_are_scored_on_training_batches_and_say_so():
    table = run_trials(noisy_regression(val=None), [finding("L302", SHRINK)], budget=60, seeds=(0,))
    assert any("no validation batches" in note for note in table.notes)


def test_shared_state_of_a_regression_is_not_changed_by_trials():
    case = regression()
    before = [batch["x"].clone() for batch in case.train]
    run_trials(case.replace(steps=5), [finding("L302", SHRINK)], budget=60, seeds=(0,))
    assert all(torch.equal(a, b["x"]) for a, b in zip(before, case.train, strict=True))


def test_one_worker_is_this_process(monkeypatch):
    def refused(*args, **kwargs):
        raise AssertionError("a pool of one process")

    monkeypatch.setattr("traindx.trials.runner.Pool", refused)
    reference = CaseReference(f"{Path(__file__).parent / 'trial_cases.py'}:noisy_regression")
    run_trials(noisy_regression(), [], budget=0, workers=1, reference=reference)


def test_two_workers_are_a_pool(monkeypatch):
    def made(*args, **kwargs):
        raise InterruptedError("a pool of two")

    monkeypatch.setattr("traindx.trials.runner.Pool", made)
    reference = CaseReference(f"{Path(__file__).parent / 'trial_cases.py'}:noisy_regression")
    with pytest.raises(InterruptedError):
        run_trials(noisy_regression(), [], budget=0, workers=2, reference=reference)
