"""O407 against the plan: rates that are gone early, schedules that end elsewhere than the training does."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim import lr_scheduler
from torch.utils.data import DataLoader, TensorDataset

from traindx.evidence import Evidence
from traindx.evidence.observed_optim import OptimizerSeen
from traindx.finding import Location, Standing
from traindx.rules import catalogue
from traindx.watch.runtime.planned import Plan, planned
from watch.inside import found, watched

EPOCHS = 12


def train(kind: str) -> None:
    net = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    loader = DataLoader(TensorDataset(torch.randn(32, 4)), batch_size=4)
    total = EPOCHS * len(loader)
    stairs = kind in ("stairs every batch", "stairs every pass")
    if stairs:
        schedule = lr_scheduler.StepLR(optimizer, 4, gamma=0.1)
    elif kind == "a smooth decay to a thousandth":
        schedule = lr_scheduler.ExponentialLR(optimizer, 0.001 ** (1 / total))
    elif kind == "linear to the number of epochs":
        schedule = lr_scheduler.LambdaLR(optimizer, lambda step: max(0.0, 1 - step / EPOCHS))
    elif kind == "one cycle of items":
        schedule = lr_scheduler.OneCycleLR(optimizer, 0.01, total_steps=EPOCHS * 32)
    elif kind == "one cycle of batches":
        schedule = lr_scheduler.OneCycleLR(optimizer, 0.01, epochs=EPOCHS, steps_per_epoch=len(loader))
    elif kind in ("stairs of batches once a pass", "stairs of batches every batch"):
        schedule = lr_scheduler.MultiStepLR(optimizer, [8 * len(loader), 10 * len(loader)])
    else:
        schedule = None
    each_pass = kind in ("stairs every pass", "stairs of batches once a pass")
    for epoch in range(EPOCHS):
        if kind.startswith("by hand"):
            part = {"by hand": epoch, "by hand, to the end": epoch / EPOCHS}.get(kind, 0)
            warm = {"by hand, warm-up of batches": 200, "by hand, warm-up of passes": 5}.get(kind, 1)
            for group in optimizer.param_groups:
                group["lr"] = 0.01 * 0.001**part * min(1, (epoch + 1) / warm)
        for (x,) in loader:
            optimizer.zero_grad()
            net(x).square().mean().backward()
            optimizer.step()
            if schedule is not None and not each_pass:
                schedule.step()
        if schedule is not None and each_pass:
            schedule.step()


def said(kind: str, folder: Path) -> list[str]:
    return [one.variant for one in found("O407", watched(lambda: train(kind), folder))]


@pytest.mark.parametrize("kind", ["stairs every batch", "linear to the number of epochs", "by hand"])
def test_a_rate_that_is_gone_after_the_first_passes_is_shown(kind: str, tmp_path: Path) -> None:
    finding = next(one for one in found("O407", watched(lambda: train(kind), tmp_path)) if one.variant == "gone-early")
    assert finding.standing is Standing.SUSPECTED
    assert finding.location is not None
    line = Path(__file__).read_text().splitlines()[finding.location.line - 1]
    assert ('group["lr"]' if kind == "by hand" else "schedule.step()") in line
    assert finding.numbers["planned"] == EPOCHS * 8
    assert finding.numbers["alive"] <= 0.3 * EPOCHS * 8


@pytest.mark.parametrize(
    "kind",
    [
        "stairs every pass", "a smooth decay to a thousandth", "by hand, to the end", "by hand, warm-up of passes",
        "no schedule",
    ],
)  # fmt: skip
def test_a_rate_that_falls_over_the_whole_plan_is_left_alone(kind: str, tmp_path: Path) -> None:
    assert said(kind, tmp_path) == []


def test_a_warm_up_by_hand_in_another_unit(tmp_path: Path) -> None:
    assert said("by hand, warm-up of batches", tmp_path) == ["warming-up"]


def test_a_cycle_of_items_is_never_completed(tmp_path: Path) -> None:
    assert "never-completed" in said("one cycle of items", tmp_path)


def test_stairs_counted_in_batches_and_moved_by_passes_are_never_reached(tmp_path: Path) -> None:
    assert "never-falls" in said("stairs of batches once a pass", tmp_path)


@pytest.mark.parametrize("kind", ["one cycle of batches", "stairs of batches every batch"])
def test_schedules_of_batches_that_move_by_batches_are_left_alone(kind: str, tmp_path: Path) -> None:
    assert said(kind, tmp_path) == []


@pytest.mark.parametrize(
    ("steps", "alive", "found"),
    [(200, 180, False), (1000, 980, False), (1000, 100, True), (10_000, 2000, True)],
)
def test_how_long_the_rate_has_been_gone(steps: int, alive: int, found: bool) -> None:
    """The end of a run, or of one cycle of several, is no fault."""
    line = Location(file="train.py", line=3)
    seen = OptimizerSeen(
        optimizer="SGD", steps=steps, planned=max(200, 10 * steps if steps == 1000 else steps), alive=alive,
        highest_lr=0.1, lrs=(1e-6,), rate_set=line,
    )  # fmt: skip
    evidence = Evidence()
    evidence.add(seen)
    assert bool(catalogue()["O407"].check(evidence)) is found


# -- the plan itself -------------------------------------------------------------------------------------------------


def plan_of(body: str, **names: object) -> Plan:
    """The plan that is read where ``look`` is called."""
    import linecache
    import sys

    seen: list[Plan] = []

    def look() -> None:
        if not seen:
            seen.append(planned(sys._getframe(1)))

    file = f"/home/somebody/plan_{abs(hash(body))}.py"
    linecache.cache[file] = (len(body), None, body.splitlines(keepends=True), file)
    exec(compile(body, file, "exec"), {"look": look, "torch": torch, **names})
    return seen[0]


class Arguments:
    def __init__(self) -> None:
        self.epochs = 7


@pytest.mark.parametrize(
    ("body", "plan"),
    [
        ("for e in range(args.epochs):\n  for b in loader:\n    look()\n", Plan(35, 7, True)),
        ("for e in range(1, args.epochs + 1):\n  for i, b in enumerate(loader):\n    look()\n", Plan(35, 7, True)),
        ("for e in range(3):\n  for i in torch.randperm(10).split(4):\n    look()\n", Plan(9, 3, True)),
        ("for step in range(2 * 50):\n  look()\n", Plan(100, 1, True)),
        ("step = 0\nwhile step < 40:\n  step += 1\n  look()\n", Plan(40, 1, True)),
        ("for e in range(7):\n  for phase in ('a', 'b'):\n    for b in loader:\n      look()\n", Plan(35, 7, False)),
        ("for e in range(7):\n  for b in loader:\n    pass\n  look()\n", Plan(7, 1, True)),
        ("for b in endless():\n  look()\n", Plan()),
        ("def one():\n  for b in loader:\n    look()\nfor e in range(2):\n  one()\n", Plan(10, 2, True)),
    ],
)
def test_the_plan_is_read_from_the_loops(body: str, plan: Plan) -> None:
    def endless():
        yield from range(3)

    loader = DataLoader(TensorDataset(torch.zeros(10, 1)), batch_size=2)
    assert plan_of(body, args=Arguments(), loader=loader, endless=endless) == plan
