"""T901 and T902: trainings that change nothing, and batches that cannot be overfit."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import traindx as dx
from patients.denoisers import denoising_case
from patients.sitting import findings, run_check
from patients.volumes import images
from traindx.checks.training import overfit
from traindx.checks.training.learned import learned
from traindx.checks.training.overfit import one_frozen_batch
from traindx.evidence.dynamics import FrozenFit
from traindx.finding import Standing


@pytest.fixture(autouse=True)
def _steps_not_seconds(monkeypatch):
    """The same number of steps however busy the machine is."""
    monkeypatch.setattr(overfit, "SECONDS", 60.0)


class Coarse(nn.Module):
    """Cannot draw below four pixels: the head emits one number a cell."""

    def __init__(self):
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(1, 32, 4, stride=4), nn.SiLU(), nn.Conv2d(32, 32, 1), nn.SiLU())
        self.head = nn.Conv2d(32, 1, 1)

    def forward(self, x):
        return F.interpolate(self.head(self.body(x)), scale_factor=4)


def case(build, loss=F.mse_loss, noise=True, size=16):
    x = images(2, size)
    y = torch.randn(x.shape, generator=torch.Generator().manual_seed(0)) if noise else x.flip(3)
    return dx.Case(
        model=build,
        train=[{"x": x, "y": y}],
        loss=lambda model, batch: loss(model(batch["x"]), batch["y"]),
        target=lambda batch: batch["y"],
    )


def test_a_floor_that_no_learning_rate_lowers_is_demonstrated(monkeypatch):
    monkeypatch.setattr(overfit, "MOST_STEPS", 400)
    evidence = run_check(case(Coarse, size=8), one_frozen_batch)
    (finding,) = findings(evidence, "T902")
    assert finding.standing is Standing.DEMONSTRATED
    # independent reference: the best constant of every 4 x 4 cell
    y = case(Coarse, size=8).first_batches(1)[0]["y"]
    best = (y - F.interpolate(F.avg_pool2d(y, 4), scale_factor=4)).square().mean()
    assert finding.numbers["floor"] == pytest.approx(float(best), rel=0.02)


def test_a_loss_without_gradient_is_suspected():
    (finding,) = findings(
        run_check(case(Coarse, lambda p, y: (p * 0).sum() + y.square().mean()), one_frozen_batch), "T902"
    )
    assert finding.standing is Standing.SUSPECTED


def test_a_healthy_network_that_needs_more_steps_is_left_alone():
    """Near miss: eighty steps are far too few for this target, but the loss is falling."""
    deep = lambda: nn.Sequential(  # noqa: E731
        *[layer for _ in range(4) for layer in (nn.LazyConv2d(16, 3, padding=1), nn.SiLU())], nn.LazyConv2d(1, 1)
    )

    def build():
        model = deep()
        model(torch.zeros(1, 1, 16, 16))
        return model

    evidence = run_check(case(build, noise=False), one_frozen_batch)
    assert min(fit.last / fit.first for fit in evidence.of(FrozenFit)) > 0.02
    assert findings(evidence, "T902") == []


def test_a_healthy_denoiser_is_left_alone(monkeypatch):
    monkeypatch.setattr(overfit, "MOST_STEPS", 30)
    assert findings(run_check(denoising_case(), one_frozen_batch), "T902") == []


def test_too_few_steps_prove_nothing(monkeypatch):
    monkeypatch.setattr(overfit, "MOST_STEPS", 10)
    assert findings(run_check(case(Coarse), one_frozen_batch), "T902") == []


def test_every_step_sees_the_same_noise():
    """The frozen loss of a network that does not learn is the same number at every step."""

    class Stubborn(nn.Module):
        def __init__(self):
            super().__init__()
            self.weight = nn.Parameter(torch.ones(1))
            self.drop = nn.Dropout(0.5)

        def forward(self, x):
            return self.drop(x) + 0 * self.weight

    patient = case(Stubborn, lambda p, y: F.mse_loss(p, y + torch.randn_like(y)))
    for fit in run_check(patient, one_frozen_batch).of(FrozenFit):
        assert len(set(fit.losses)) == 1


# T901


def trained(patient, rate, steps=60):
    torch.manual_seed(0)
    model = patient.model()
    optimizer = torch.optim.SGD(model.parameters(), lr=rate)
    batch = patient.first_batches(1)[0]
    for _ in range(steps):
        optimizer.zero_grad()
        patient.loss(model, batch).backward()
        optimizer.step()
    return model


def patient():
    return case(lambda: nn.Conv2d(1, 1, 3, padding=1), noise=False).replace(steps=60)


@pytest.mark.parametrize("rate", [0.0, 1e-9])
def test_a_training_that_changes_nothing(rate):
    found = findings(run_check(patient(), learned, trained=trained(patient(), rate)), "T901")
    assert [finding.code for finding in found] == ["T901"]
    assert found[0].standing is (Standing.DEMONSTRATED if rate == 0 else Standing.SUSPECTED)


def test_a_training_that_diverges_did_not_learn_either():
    (finding,) = findings(run_check(patient(), learned, trained=trained(patient(), 3.0, steps=5)), "T901")
    assert finding.standing is Standing.DEMONSTRATED


def test_a_training_that_learns_is_left_alone():
    assert findings(run_check(patient(), learned, trained=trained(patient(), 0.1)), "T901") == []


def test_a_short_training_is_not_judged():
    """Near miss: five steps change little, and nobody should expect more."""
    assert (
        findings(run_check(patient().replace(steps=5), learned, trained=trained(patient(), 1e-9, steps=5)), "T901")
        == []
    )
