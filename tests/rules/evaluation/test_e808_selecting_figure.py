"""E808 and E805: the figure that selects, of one fixed model and of two different ones."""

from __future__ import annotations

import torch
from torch import nn

import traindx as dx
from patients.sitting import findings, run_check
from traindx.checks.metrics.repeat_selection import repeat_selection
from traindx.finding import Standing


def found(validate, selects="val_loss", code="E808"):
    case = dx.Case(
        model=lambda: nn.Linear(4, 4),
        train=[torch.zeros(2, 4)],
        parts=(dx.Deployment(selects=selects, produces=lambda: ("val_loss",), validate=validate),),
    )
    return findings(run_check(case, repeat_selection), code)


def loss_of(model, noise):
    return {"val_loss": float((model(noise) - noise).square().mean().detach())}


def test_a_loss_on_redrawn_noise_is_demonstrated():
    (finding,) = found(lambda model: loss_of(model, torch.randn(8, 4)))
    assert finding.standing is Standing.DEMONSTRATED
    assert "'val_loss'" in finding.message


def test_a_loss_on_noise_from_a_fixed_seed_is_left_alone():
    noise = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
    assert found(lambda model: loss_of(model, noise)) == []


def test_many_draws_that_average_out_are_left_alone():
    """Near miss: redrawn, and so many of them that nothing is chosen by luck."""
    assert found(lambda model: {"val_loss": float(1 + 1e-4 * torch.randn(()))}) == []


def test_a_figure_that_is_not_produced_is_another_rules_business():
    assert found(lambda model: loss_of(model, torch.randn(8, 4)), selects="val_psnr") == []


def test_a_figure_that_no_model_changes_is_demonstrated():
    (finding,) = found(lambda model: {"val_loss": 0.0}, code="E805")
    assert finding.standing is Standing.DEMONSTRATED


def test_a_figure_that_follows_the_model_is_left_alone():
    noise = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
    assert found(lambda model: loss_of(model, noise), code="E805") == []


def test_two_models_whose_heads_begin_at_zero_are_told_apart():
    """Near miss: fresh models of many kinds say exactly the same, on purpose."""

    class Zero(nn.Module):
        def __init__(self):
            super().__init__()
            self.head = nn.Linear(4, 4)
            nn.init.zeros_(self.head.weight)
            nn.init.zeros_(self.head.bias)

        def forward(self, x):
            return self.head(x)

    noise = torch.randn(8, 4, generator=torch.Generator().manual_seed(1))
    case = dx.Case(
        model=Zero,
        train=[torch.zeros(2, 4)],
        parts=(dx.Deployment(selects="val_loss", validate=lambda model: loss_of(model, noise)),),
    )
    assert findings(run_check(case, repeat_selection), "E805") == []
