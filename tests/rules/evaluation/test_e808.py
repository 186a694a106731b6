"""E808 from the check to the rule: what does validation say of one fixed model, several times over?"""

from __future__ import annotations

import math

import torch
from torch import nn

import traindx as dx
from patients.sitting import findings, run_check
from traindx.checks.metrics.repeat_validation import repeat_validation, trained_repeat_validation
from traindx.evidence.deployment import RepeatedValidation
from traindx.finding import Standing


def volumes():
    generator = torch.Generator().manual_seed(0)
    ramp = torch.linspace(-1, 1, 32)
    return [torch.randn(1, 1, 32, 32, generator=generator) * 0.1 + ramp for _ in range(3)]


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.drop = nn.Dropout(0.5)
        self.weight = nn.Parameter(torch.ones(1))

    def forward(self, x):
        return self.weight * x


def mae(p, t):
    return (p - t).abs().mean()


def case(val, negligible=0.01, predict=lambda m, b: m(b["x"]) * 0.5):
    return dx.Case(
        model=Net,
        train=[{"x": volumes()[0]}],
        val=val,
        target=lambda b: b["x"],
        predict=predict,
        metrics={"mae": dx.Metric(mae, higher_is_better=False, negligible=negligible)},
    )


def found(made):
    return findings(run_check(made, repeat_validation), "E808")


def whole():
    return ({"x": v} for v in volumes())


def random_patch():
    for v in volumes():
        column = int(torch.randint(0, 25, ()))
        yield {"x": v[..., column : column + 8]}


def shuffled():
    order = torch.randperm(3).tolist()
    return ({"x": volumes()[i]} for i in order)


def test_whole_cases_are_left_alone():
    assert found(case(whole)) == []


def test_a_random_patch_a_case_is_demonstrated():
    (finding,) = found(case(random_patch))
    assert finding.standing is Standing.DEMONSTRATED
    assert "other data" in finding.message
    assert finding.numbers["highest"] - finding.numbers["lowest"] > 0.02
    assert "random_patch" in finding.location.symbol


def test_another_order_of_the_same_cases_is_left_alone():
    evidence = run_check(case(shuffled), repeat_validation)
    assert evidence.last(RepeatedValidation).same_data
    assert findings(evidence, "E808") == []


def test_redrawn_data_that_hardly_move_the_figure_are_left_alone():
    """A near miss: validation redraws a little noise, far below what the metric calls negligible."""
    made = case(lambda: ({"x": v + 1e-4 * torch.randn(v.shape)} for v in volumes()))
    evidence = run_check(made, repeat_validation)
    assert not evidence.last(RepeatedValidation).same_data
    assert findings(evidence, "E808") == []


def test_a_random_prediction_of_the_same_data_is_only_suspected():
    made = case(whole, predict=lambda m, b: b["x"] + torch.randn(()) * 0.5)
    (finding,) = found(made)
    assert finding.standing is Standing.SUSPECTED
    assert "prediction is random" in finding.message


def test_the_trained_model_has_the_last_word():
    evidence = run_check(case(whole), repeat_validation, trained_repeat_validation, trained=Net())
    assert [record.trained for record in evidence.of(RepeatedValidation)] == [False, True]


def test_an_undefined_score_does_not_make_the_mean_undefined():
    def metric(p, t):
        return torch.tensor(float("nan")) if t.mean() > 0.005 else mae(p, t)

    made = case(whole).replace(metrics={"m": metric})
    record = run_check(made, repeat_validation).last(RepeatedValidation)
    assert record is None or not any(math.isnan(value) for value in record.values)
