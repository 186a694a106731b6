"""L303: terms that are summed and do nothing."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import nn

import traindx as dx
from patients.sitting import findings, run_check
from patients.volumes import images
from traindx.checks.loss.gradients import gradients
from traindx.finding import Severity, Standing


def case(terms):
    x = images(4, 16)

    def loss(model, batch):
        return terms(model(batch["x"]), batch["y"])

    return dx.Case(
        model=lambda: nn.Conv2d(1, 1, 3, padding=1),
        train=[{"x": x, "y": x.flip(3)}],
        loss=loss,
        target=lambda batch: batch["y"],
    )


def found(terms):
    return findings(run_check(case(terms), gradients), "L303")


def dice(p, y):
    a, b = (p > 0).float(), (y > 0).float()
    return 1 - 2 * (a * b).sum() / (a.sum() + b.sum() + 1)


def test_thresholds_detachments_and_items_are_demonstrated():
    (finding,) = found(lambda p, y: {"mse": F.mse_loss(p, y), "dice": 1e6 * dice(p, y)})
    assert finding.standing is Standing.DEMONSTRATED
    assert "'dice'" in finding.message
    assert finding.proposals[0].parameters == {"term": "dice"}
    (finding,) = found(lambda p, y: {"mse": F.mse_loss(p, y), "edge": F.l1_loss(p.detach(), y)})
    assert "'edge'" in finding.message
    (finding,) = found(lambda p, y: {"mse": F.mse_loss(p, y), "item": torch.tensor(F.l1_loss(p, y).item())})
    assert "'item'" in finding.message


def test_the_only_term_is_critical():
    (finding,) = found(dice)
    assert finding.severity is Severity.CRITICAL


def test_a_saturated_clamp_is_a_zero_gradient():
    (finding,) = found(lambda p, y: {"mse": F.mse_loss(p, y), "far": (1000 + p.round().square().mean()) * 1.0})
    assert "gradient of exactly zero" in finding.message


def test_a_constant_is_suspected():
    (finding,) = found(lambda p, y: {"mse": F.mse_loss(p, y), "physics": torch.tensor(0.5)})
    assert finding.standing is Standing.SUSPECTED


def test_working_switched_off_and_satisfied_terms_are_left_alone():
    assert found(lambda p, y: {"mse": F.mse_loss(p, y), "tv": 0.1 * p.diff(dim=3).abs().mean()}) == []
    assert found(lambda p, y: {"mse": F.mse_loss(p, y), "off": 0.0 * dice(p, y)}) == []
    assert found(lambda p, y: {"mse": F.mse_loss(p, y), "margin": F.relu(p.abs().mean() - 100)}) == []
