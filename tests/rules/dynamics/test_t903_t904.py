"""T903 and T904: runs that end too early, runs that are stuck, and all that is neither."""

from __future__ import annotations

import math
import statistics

import pytest
import torch
from torch import nn

import traindx as dx
from patients.sitting import findings, run_check
from traindx import trials
from traindx.checks.training.full_run import full_run, recorded_run
from traindx.evidence import Evidence, NotExamined
from traindx.evidence.evaluation import BaselineScore
from traindx.evidence.forecast import RunForecast
from traindx.evidence.observed import Ending, IterationsSeen, LossSeries, ScriptRun
from traindx.finding import Location, Severity, Standing
from traindx.host.forecasting import highest_gain, loss_forecast
from traindx.trials.proposals import resolve
from traindx.trials.training import train
from traindx.trials.treatment import TreatmentUnfitError, touched
from traindx.trials.treatments.train_longer.case import rates_of

STEPS = 120


def psnr(prediction, target):
    return 10 * torch.log10(4.0 / (prediction - target).square().mean())


def batches(seed, count=3):
    generator = torch.Generator().manual_seed(seed)
    # inputs of very different size: gradient descent learns the small ones slowly
    scale, weight = torch.logspace(0, -1.2, 8), torch.linspace(1, 2, 8).view(8, 1)
    found = []
    for _ in range(count):
        x = torch.randn(32, 8, generator=generator)
        found.append({"x": x * scale, "y": x @ weight / 3 + 0.02 * torch.randn(32, 1, generator=generator)})
    return found


def cosine(optimizer, steps):
    """A cosine that is attached to the optimiser, as recipes do it."""
    peaks, made = [], [0]

    def before(running, *_):
        if not peaks:
            peaks.extend(group["lr"] for group in running.param_groups)
        for group, peak in zip(running.param_groups, peaks, strict=True):
            group["lr"] = peak * 0.5 * (1 + math.cos(math.pi * min(1.0, made[0] / steps)))
        made[0] += 1

    optimizer.register_step_pre_hook(before)
    return optimizer


def case(rate=0.01, steps=STEPS, attach=lambda optimizer: optimizer, **parts):
    made = {
        "model": lambda: nn.Linear(8, 1),
        "train": batches(0),
        "val": batches(1),
        "loss": lambda model, batch: (model(batch["x"]) - batch["y"]).square().mean(),
        "predict": lambda model, batch: model(batch["x"]),
        "target": lambda batch: batch["y"],
        "metrics": {"psnr": dx.Metric(psnr, "dB", negligible=0.1)},
        "optimizer": lambda weights: attach(torch.optim.Adam(weights, lr=rate)),
        "steps": steps,
        "parts": (dx.FullRun(steps),),
    }
    return dx.Case(**made).replace(**parts)


def examined(of):
    return run_check(of, full_run, trained=nn.Identity())


# ------------------------------------------------------------------------------------------------ from a case


def test_a_run_that_ends_while_it_improves_is_suspected_and_the_forecast_holds():
    short = case()
    evidence = examined(short)
    (finding,) = findings(evidence, "T903", "T904")
    assert (finding.code, finding.standing) == ("T903", Standing.SUSPECTED)
    assert [one.treatment for one in finding.proposals] == ["train-longer"]
    longer = train(short, 0, 2 * STEPS).model
    reached = sum(psnr(longer(batch["x"]), batch["y"]).item() for batch in short.val) / 3
    gain = reached - finding.numbers["level"]
    assert finding.numbers["gain_low"] <= gain <= finding.numbers["gain_high"]


def test_a_cosine_that_has_ended_is_seen_through():
    short = case(attach=lambda optimizer: cosine(optimizer, STEPS))
    (finding,) = findings(examined(short), "T903", "T904")
    assert finding.code == "T903"
    assert "schedule" in finding.remedy


def test_a_run_that_has_converged_is_left_alone():
    assert findings(examined(case(rate=0.3, steps=200)), "T903", "T904") == []


def test_a_rate_of_zero_is_stuck_and_not_under_trained():
    (finding,) = findings(examined(case(rate=0.0)), "T903", "T904")
    assert (finding.code, finding.standing) == ("T904", Standing.SUSPECTED)
    assert finding.numbers["learned"] == pytest.approx(0, abs=1e-9)


def test_how_long_a_trial_trains_is_no_plan():
    """Near miss: the healthy case as it ships, trained for a moment and still improving."""
    trial_only = case(full_run=None)
    assert full_run.missing(trial_only) == ("full_run",)
    much_longer = case(full_run=dx.FullRun(20_000))
    evidence = examined(much_longer)
    assert findings(evidence, "T903", "T904") == []
    (note,) = evidence.of(NotExamined)
    assert "120 steps" in note.reason
    assert "20000" in note.reason


def test_an_exam_leaves_random_numbers_as_they_were():
    torch.manual_seed(5)
    wanted = torch.rand(3)
    torch.manual_seed(5)
    examined(case(steps=40))
    assert torch.equal(torch.rand(3), wanted)


# ------------------------------------------------------------------------------------------------ from a recorded run


def recorded(points, planned, *, rates=None, negligible=0.15):
    of = case(
        metrics={"psnr": dx.Metric(psnr, "dB", negligible=negligible)},
        full_run=dx.FullRun(planned, history=lambda: points, rates=rates),
    )
    return run_check(of, recorded_run)


# a progressive regression on CT volumes at 16 voxels, planned for 1122 steps under a cosine
PSNR = [(187, 32.465), (374, 34.839), (561, 36.184), (748, 37.011), (935, 37.429), (1122, 37.608)]
# a segmentation of the hippocampus: Dice every 500 steps, in per cent
DICE = [(500 * k, v) for k, v in enumerate([86.10, 87.81, 87.98, 88.30, 88.34, 88.27, 88.24, 88.24, 88.23, 88.15], 1)]


def test_a_real_run_under_a_cosine_that_looks_flat_was_too_short():
    rates = [0.5 * (1 + math.cos(math.pi * step / 1122)) for step in range(1122)]
    evidence = recorded(PSNR, 1122, rates=lambda: rates)
    (finding,) = findings(evidence, "T903", "T904")
    assert finding.code == "T903"
    assert finding.proposals == ()  # a trial trains for much less
    assert finding.numbers["gain_low"] > 0.45


def test_a_real_run_that_has_converged_is_left_alone():
    assert findings(recorded(DICE, 5000, negligible=0.5), "T903", "T904") == []


def test_a_run_that_is_under_way_is_left_alone():
    """Near miss: still improving, and the author's plan has not ended."""
    assert findings(recorded(PSNR, 3000), "T903", "T904") == []


def test_too_few_points_are_said():
    evidence = recorded(PSNR[:3], 561)
    assert not evidence.of(RunForecast)
    assert "usable points" in evidence.of(NotExamined)[0].reason


def test_flat_at_the_level_of_a_trivial_predictor_is_stuck():
    flat = [(10 * k, 20 - 8 * math.exp(-k)) for k in range(1, 21)]
    evidence = recorded(flat, 200)
    assert findings(evidence, "T903", "T904") == []
    for mean, expected in ((15.0, []), (19.98, ["T904"])):
        score = BaselineScore(
            name="constant", metric="psnr", unit="dB", higher_is_better=True, values=(mean,), informed=False
        )
        together = Evidence()
        for record in (*evidence, score):
            together.add(record)
        assert [one.code for one in findings(together, "T903", "T904")] == expected


# ------------------------------------------------------------------------------------------------ the trial


def test_the_trial_proves_it_by_a_measured_gain():
    short = case()
    (finding,) = findings(examined(short), "T903")
    table = trials.run_trials(short, [finding], budget=60, seeds=(0, 1, 2), workers=1)
    (judged,) = trials.apply_results([finding], table)
    assert judged.standing is Standing.PROVEN
    seeds = [
        sum(psnr(train(short, seed, count).model(b["x"]), b["y"]).item() for b in short.val) / 3
        for seed in (0, 1, 2)
        for count in (2 * STEPS, STEPS)
    ]
    by_hand = sum(seeds[0::2]) / 3 - sum(seeds[1::2]) / 3
    assert judged.worth.alone.mean == pytest.approx(by_hand, rel=0.1)  # the trial pools its samples


def longer(of, factor=2.0):
    return resolve(dx.finding.Proposal(treatment="train-longer", parameters={"factor": factor}), of)


def test_a_schedule_is_stretched_and_not_continued():
    before = case(attach=lambda optimizer: cosine(optimizer, STEPS))
    treatment = longer(before)
    after = treatment.apply(before)
    assert after.steps == 2 * STEPS
    assert touched(before, after) == {"training"}
    assert treatment.cost == 2
    shares = rates_of(after, 2 * STEPS)
    for step in range(0, 2 * STEPS, 7):
        assert shares[step] == pytest.approx(0.5 * (1 + math.cos(math.pi * (step // 2) / STEPS)), abs=1e-9)


def test_a_constant_rate_keeps_its_optimiser():
    before = case()
    assert longer(before).apply(before).optimizer is before.optimizer
    assert longer(case(optimizer=None)).apply(case(optimizer=None)).steps == 2 * STEPS


def test_what_cannot_be_stretched_is_refused():
    class Own(torch.optim.SGD):
        """Sets its rate inside its step, where nobody can reach it."""

        count = 0

        def step(self, closure=None):
            for group in self.param_groups:
                group["lr"] = 0.1 / (1 + self.count)
            self.count += 1
            return super().step(closure)

    with pytest.raises(TreatmentUnfitError, match="cannot be stretched"):
        longer(case(optimizer=lambda weights: Own(weights, lr=0.1)))
    for factor in (1.0, 0.5, 100.0):
        with pytest.raises(TreatmentUnfitError, match="factor"):
            longer(case(), factor)


# ------------------------------------------------------------------------------------------------ a watched script


LINE = Location(file="train.py", line=12)


def watched(values, *, ending=Ending.FINISHED, optimizers=1, lines=1):
    evidence = Evidence()
    evidence.add(ScriptRun(target="train.py", ending=ending))
    evidence.add(IterationsSeen(iterations=len(values), watched=9, driven_by="optimiser", optimizers=optimizers))
    for line in range(lines):
        where = LINE.model_copy(update={"line": 12 + line})
        evidence.add(
            LossSeries(where=where, iterations=tuple(range(len(values))), values=tuple(values), calls=len(values))
        )
    found = loss_forecast(evidence)
    if found is not None:
        evidence.add(found)
    return findings(evidence, "T903", "T904")


def losses(law, count, noise=0.05, seed=0):
    generator = torch.Generator().manual_seed(seed)
    scatter = torch.exp(noise * torch.randn(count, generator=generator)).tolist()
    return [law(step) * factor for step, factor in enumerate(scatter, 1)]


def test_a_script_that_ends_while_its_loss_falls():
    falling = losses(lambda step: 0.1 + math.exp(-step / 600), 500)
    (finding,) = watched(falling)
    assert (finding.code, finding.severity, finding.standing) == ("T903", Severity.MINOR, Standing.SUSPECTED)
    assert finding.location == LINE
    assert finding.proposals == ()
    assert watched(falling[:150]) == []  # a demonstration ends on purpose
    assert watched(falling, ending=Ending.STOPPED) == []  # it was ended from outside
    assert watched(falling, optimizers=2) == []
    assert watched(falling, lines=2) == []


def test_a_script_whose_loss_never_moves():
    (finding,) = watched(losses(lambda step: 0.69, 400))
    assert (finding.code, finding.severity) == ("T904", Severity.MINOR)
    assert watched(losses(lambda step: 0.69, 200)) == []


def test_where_single_values_scatter_not_having_learned_must_be_certain():
    """Near miss: one bag a batch. The first three losses happen to be where the last ones are."""
    generator = torch.Generator().manual_seed(3)
    margin = torch.linspace(0.0, 0.3, 600) + 1.2 * torch.randn(600, generator=generator)
    bags = nn.functional.softplus(-margin).tolist()
    assert highest_gain(bags, statistics.fmean(bags[-120:])) > 0.02 * 0.69
    assert highest_gain(losses(lambda step: 0.69, 600, noise=0.02), 0.69) < 0.02 * 0.69
    flat = {"validated": False, "gain": (0.0, 0.0, 0.001), "learned": 0.001, "level": 0.69, "negligible": 0.0069}
    forecast = recorded(DICE, 5000, negligible=0.5).last(RunForecast).model_copy(update={**flat, "stop": (1, 1, 1)})
    for high, expected in ((0.005, ["T904"]), (0.05, []), (None, ["T904"])):
        evidence = Evidence()
        evidence.add(forecast.model_copy(update={"learned_high": high}))
        assert [one.code for one in findings(evidence, "T903", "T904")] == expected


def test_a_script_whose_loss_is_all_but_zero_is_left_alone():
    """Near miss: by what factor a loss of a millionth still falls matters to nobody."""
    assert watched(losses(lambda step: step**-3.0, 400)) == []


def test_a_validated_figure_decides_alone():
    """Near miss: the loss still falls, and the metric is flat."""
    flat = recorded(DICE, 5000, negligible=0.5).last(RunForecast)
    falling = flat.model_copy(update={"validated": False, "gain": (0.3, 0.4, 0.5), "learned": 1.0, "level": 1.0})
    for order in ((flat, falling), (falling, flat)):
        evidence = Evidence()
        for record in order:
            evidence.add(record)
        assert findings(evidence, "T903") == []
    alone = Evidence()
    alone.add(falling.model_copy(update={"negligible": 0.02}))
    assert len(findings(alone, "T903")) == 1
