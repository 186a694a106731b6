"""O407 in the first steps of a case: which rate is in effect?"""

from __future__ import annotations

import pytest
import torch
from torch import nn

import traindx as dx
from patients.sitting import findings, run_check
from traindx.checks.training.first_steps import first_steps
from traindx.evidence import NotExamined
from traindx.evidence.optimisation import FirstSteps
from traindx.finding import Standing


def case(optimizer):
    x = torch.randn(8, 3, generator=torch.Generator().manual_seed(0))
    return dx.Case(
        model=lambda: nn.Linear(3, 1),
        train=[{"x": x}],
        loss=lambda m, b: (m(b["x"]) - 1).square().mean(),
        optimizer=optimizer,
    )


def scheduled(make, lr=1e-2, by_hand=None):
    def optimizer(parameters):
        made = torch.optim.Adam(parameters, lr=lr)
        schedule = make(made)
        if by_hand is not None:
            for group in made.param_groups:
                group["lr"] = by_hand
        made.register_step_post_hook(lambda *_: schedule.step())
        return made

    return optimizer


def found(optimizer):
    return findings(run_check(case(optimizer), first_steps), "O407")


class FromBase(torch.optim.lr_scheduler.LRScheduler):
    """A schedule that computes every rate from its own base rates, as most do."""

    def get_lr(self):
        return [base * 0.99**self.last_epoch for base in self.base_lrs]


def test_a_rate_set_by_hand_that_the_schedule_undoes_is_demonstrated():
    (finding,) = found(scheduled(FromBase, lr=1e-5, by_hand=1e-2))
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.numbers["first_rate"] == 1e-2
    assert finding.numbers["then"] == pytest.approx(1e-5, rel=0.1)
    assert "optimizer" in finding.location.symbol


@pytest.mark.parametrize(
    "make",
    [
        FromBase,
        lambda o: torch.optim.lr_scheduler.LinearLR(o, 0.01, total_iters=5),
        lambda o: torch.optim.lr_scheduler.CosineAnnealingLR(o, 100),
        lambda o: torch.optim.lr_scheduler.OneCycleLR(o, 1e-2, total_steps=100),
        lambda o: torch.optim.lr_scheduler.ExponentialLR(o, 0.5),
        lambda o: torch.optim.lr_scheduler.StepLR(o, 3, gamma=0.1),
    ],
    ids=["base", "warm-up", "cosine", "one-cycle", "halving", "tenth-after-three"],
)
def test_schedules_in_use_are_left_alone(make):
    assert found(scheduled(make)) == []


def test_no_schedule_is_left_alone():
    assert found(lambda p: torch.optim.SGD(p, lr=1.0)) == []


def test_an_optimiser_made_for_its_own_model_is_not_examined():
    def optimizer(parameters):
        raise ValueError("unknown parameter")

    evidence = run_check(case(optimizer), first_steps)
    assert "unknown parameter" in evidence.of(NotExamined)[0].reason
    assert not evidence.of(FirstSteps)


def test_the_model_is_not_touched():
    made = case(lambda p: torch.optim.SGD(p, lr=0.1))
    evidence = run_check(made.replace(model=lambda: pytest.fail("no model is needed")), first_steps)
    assert evidence.last(FirstSteps).rates == (0.1,) * 6
