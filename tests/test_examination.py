"""The examination as a whole: what happens with cases that cannot be used, and what is written when they fail."""

from __future__ import annotations

import json
from itertools import islice

import pytest
import torch
from torch import nn

import traindx as dx
from traindx import checks
from traindx.diagnosis import Diagnosis, Outcome
from traindx.errors import InputError, UsageError
from traindx.evidence import Evidence
from traindx.evidence.dynamics import LossBeforeAfter


def batches():
    generator = torch.Generator().manual_seed(0)
    for _ in range(4):
        x = torch.randn(4, 1, 8, 8, generator=generator)
        yield {"x": x, "y": 2 * x}


def mse(model, batch):
    return (model(batch["x"]) - batch["y"]).square().mean()


def regression(**changes):
    parts = {
        "model": lambda: nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.SiLU(), nn.Conv2d(8, 1, 3, padding=1)),
        "train": batches,
        "loss": mse,
        "predict": lambda model, batch: model(batch["x"]),
        "target": lambda batch: batch["y"],
        "metrics": {"mse": dx.Metric(lambda p, t: (p - t).square().mean(), higher_is_better=False)},
    }
    return dx.Case(**parts).replace(**changes)


class Poisoned(nn.Module):
    def __init__(self):
        super().__init__()
        self.first = nn.Conv2d(1, 1, 1)
        self.log = LogOfNegative()

    def forward(self, x):
        return self.log(self.first(x))


class LogOfNegative(nn.Module):
    def forward(self, x):
        return torch.log(-x.abs() - 1)


def broken_model():
    raise RuntimeError("no such backbone")


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"model": broken_model}, "building the model raised RuntimeError: no such backbone"),
        ({"model": Poisoned}, "comes from log (LogOfNegative)"),
        ({"train": list}, "ended before the first one"),
        ({"train": (item for item in [])}, "ended before the first one"),
        (
            {"loss": lambda model, batch: (model(batch["x"]) - batch["y"]).square()},
            "the loss term 'loss' is (4, 1, 8, 8)",
        ),
        (
            {"loss": lambda model, batch: mse(model, batch["nothing"])},
            "computing the loss of the first batch raised KeyError",
        ),
    ],
    ids=["model raises", "nan", "no batch", "exhausted generator", "loss not scalar", "loss raises"],
)
def test_a_case_that_cannot_be_used_says_why_and_where_and_is_still_written(tmp_path, changes, says):
    diagnosis = dx.examine(regression(**changes), budget="0s", out=tmp_path)
    assert diagnosis.outcome is Outcome.NOT_ENOUGH_SEEN
    assert diagnosis.exit_code == 3
    assert any(says in error for error in diagnosis.errors), diagnosis.errors
    assert Diagnosis.model_validate_json((tmp_path / "diagnosis.json").read_text()) == diagnosis
    if "raised" in says or "Log" in says:
        assert any("test_examination.py:" in error for error in diagnosis.errors), diagnosis.errors


def test_a_loader_that_can_be_read_once_only_is_named():
    diagnosis = dx.examine(regression(train=islice(batches(), 1)), budget="0s")
    assert diagnosis.outcome is Outcome.NOT_ENOUGH_SEEN
    assert any("ended before the first one" in error and "fresh iterator" in error for error in diagnosis.errors)


def test_an_exam_that_raises_is_not_examined_and_the_rest_goes_on(tmp_path, monkeypatch):
    @checks.check("explodes", "a check that explodes", needs=())
    def explodes(ctx):
        raise ZeroDivisionError("on purpose")

    rest = checks.catalogue()
    monkeypatch.setattr(checks, "catalogue", lambda: (explodes, *rest))
    diagnosis = dx.examine(regression(), budget="0s", out=tmp_path)
    (entry,) = [item for item in diagnosis.not_examined if item.subject == "a check that explodes"]
    assert "ZeroDivisionError: on purpose" in entry.reason
    assert diagnosis.outcome is Outcome.NOTHING_FOUND


def test_an_interrupt_keeps_what_was_gathered(tmp_path, monkeypatch):
    @checks.check("interrupted", "a check that is interrupted", needs=())
    def interrupted(ctx):
        raise KeyboardInterrupt

    monkeypatch.setattr(checks, "catalogue", lambda: (interrupted,))
    with pytest.raises(KeyboardInterrupt):
        dx.examine(regression(), budget="0s", out=tmp_path)
    assert json.loads((tmp_path / "diagnosis.json").read_text())["case"] == "case"
    assert Evidence.load(tmp_path) is not None


def test_parts_that_are_missing_are_listed_never_passed():
    diagnosis = dx.examine(dx.Case(model=lambda: nn.Conv2d(1, 1, 1), train=batches), budget="0s")
    reasons = " ".join(item.reason for item in diagnosis.not_examined)
    assert "does not describe" in reasons


def test_unknown_codes_and_budgets_are_refused():
    with pytest.raises(InputError, match="no rule begins with 'Q9'"):
        dx.examine(regression(), select=["Q9"])
    with pytest.raises(UsageError, match="is not a duration"):
        dx.examine(regression(), budget="soon")


def test_select_and_ignore_work_by_prefix():
    from traindx.pipeline import select

    chosen = {item.code for item in select(["M"], ["M205"])}
    assert "M205" not in chosen
    assert chosen
    assert all(code.startswith("M") for code in chosen)


def test_before_and_after_training_are_the_same_model(tmp_path):
    """A training of five steps at a rate of nothing: weights and loss afterwards are those of the first step."""
    still = regression(steps=5, optimizer=lambda weights: torch.optim.SGD(weights, lr=0.0))
    dx.examine(still, budget="20s", out=tmp_path, seeds=(7,))
    (seen,) = Evidence.load(tmp_path).of(LossBeforeAfter)
    assert seen.moved == 0
    assert set(seen.differences) == {0.0}


def test_an_examination_leaves_the_global_random_state_alone():
    torch.manual_seed(7)
    expected = torch.rand(3)
    torch.manual_seed(7)
    dx.examine(regression(), budget="0s")
    assert torch.equal(torch.rand(3), expected)
