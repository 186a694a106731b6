"""O401 from steps that are made longer on their own batch: a flat loss whose slope goes on and on."""

from __future__ import annotations

import math
from textwrap import dedent

import pytest

from traindx import pipeline
from traindx.evidence import Evidence
from traindx.evidence.observed import LossSeries
from traindx.evidence.probed import StepProbed
from traindx.finding import Location, Standing
from traindx.rules import catalogue

PROGRAM = dedent(
    """
    import torch
    from torch import nn

    torch.manual_seed(0)
    x = torch.randn(256, 1, 12, 12)
    y = (x[:, :, 3:7, 3:7].mean((1, 2, 3)) > 0).long()
    net = nn.Sequential(nn.Conv2d(1, 8, 3), nn.ReLU(), nn.Flatten(), nn.Linear(800, 2))
    opt = {optimizer}
    {prepare}
    for epoch in range(4):
        for i in range(0, 256, 16):
            opt.zero_grad()
            loss = nn.functional.cross_entropy(net(x[i : i + 16]), y[i : i + 16])
            loss.backward()
            opt.step()
            {after}
        print(epoch, loss.item())
    """
)
TRAINED = (
    "warm = torch.optim.Adam(net.parameters(), lr=3e-3)\n"
    "for _ in range(60):\n"
    "    warm.zero_grad()\n"
    "    nn.functional.cross_entropy(net(x), y).backward()\n"
    "    warm.step()"
)


def program(optimizer: str, prepare: str = "", after: str = "") -> str:
    return PROGRAM.format(optimizer=optimizer, prepare=prepare, after=after)


def told(seen) -> list:
    return [one for one in seen.diagnosis.findings if one.code == "O401"]


@pytest.mark.parametrize(
    "optimizer", ["torch.optim.Adam(net.parameters(), lr=1e-7)", "torch.optim.SGD(net.parameters(), lr=1e-5)"]
)
def test_a_rate_at_which_nothing_moves_is_named_once_at_its_optimiser(script, optimizer) -> None:
    (found,) = told(script(program(optimizer)))
    assert found.location.line == 8
    assert found.standing is Standing.SUSPECTED


@pytest.mark.parametrize(
    ("optimizer", "prepare", "after"),
    [
        ("torch.optim.Adam(net.parameters(), lr=1e-3)", "", ""),
        ("torch.optim.Adam(net.parameters(), lr=3e-5)", "", ""),
        ("torch.optim.SGD(net.parameters(), lr=1e-2)", "", ""),
        # slow on purpose at the end of what it learned: nothing is left to be had by longer steps
        ("torch.optim.SGD(net.parameters(), lr=1e-6)", TRAINED, ""),
        # a warm-up begins at next to nothing
        (
            "torch.optim.Adam(net.parameters(), lr=1e-3)",
            "rate = torch.optim.lr_scheduler.LinearLR(opt, 1e-5, 1.0, 60)",
            "rate.step()",
        ),
        # the tail of a schedule
        (
            "torch.optim.Adam(net.parameters(), lr=1e-3)",
            "rate = torch.optim.lr_scheduler.ExponentialLR(opt, 0.7)",
            "rate.step()",
        ),
    ],
)
def test_rates_that_teach_that_rise_or_that_are_over_are_left_alone(script, optimizer, prepare, after) -> None:
    source = program(optimizer, prepare, after)
    assert not [one for one in told(script(source)) if "A hundred times as long" in one.message]


def step(fall: float, *falls: float, lr: float = 1e-6) -> StepProbed:
    return StepProbed(
        network="Net",
        optimizer="Adam",
        made=Location(file="train.py", line=9),
        where=Location(file="train.py", line=15),
        lr=lr,
        before=2.0,
        after=2.0 * (1 - fall),
        moved=1e-5,
        farther=tuple(2.0 * (1 - one) for one in falls),
    )


def judged(*steps: StepProbed, values: tuple[float, ...] = (2.0,) * 20) -> list:
    evidence = Evidence()
    series = LossSeries(where=Location(file="train.py", line=15), iterations=tuple(range(len(values))), values=values)
    for one in (*steps, series):
        evidence.add(one)
    return pipeline.judge(evidence, pipeline.Scope(pipeline.Front.SCRIPT), chosen=(catalogue()["O401"],)).findings


def test_the_decision_at_its_limits() -> None:
    slow = step(5e-5, 5e-4, 5e-3, 5e-2)
    assert judged(slow, slow)
    assert not judged(slow)  # one may be odd
    assert not judged(slow, step(2e-4, 2e-3, 2e-2, 0.2))  # one of two does enough
    assert not judged(slow, slow, values=tuple(2.0 - 0.02 * k for k in range(20)))  # the run learns
    assert not judged(*[step(5e-5, 5e-4, 1e-3, 4e-3)] * 2)  # the slope ends before it leads anywhere
    assert not judged(*[step(5e-5, 5e-4, 5e-3, math.nan)] * 2)
    assert not judged(slow, slow, step(0.0, lr=1e-4))  # steps at a far lower rate than the highest say nothing


def test_one_step_alone_is_no_reason_to_say_anything() -> None:
    evidence = Evidence()
    evidence.add(step(5e-5, 5e-4, 5e-3, 5e-2))
    assert not catalogue()["O401"].check(evidence)
