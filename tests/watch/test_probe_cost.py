"""What experiments may cost is reckoned in processor time: a busy machine makes as many of them as an idle one."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
import torch
from torch import nn

from traindx.evidence import NotExamined
from traindx.evidence.probed import InputProbed
from watch.inside import watched


def train() -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(4 * 36, 2))
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    for _ in range(40):
        loss = nn.functional.cross_entropy(net(torch.randn(4, 1, 8, 8)), torch.randint(0, 2, (4,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def test_others_who_use_the_machine_change_nothing_that_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "idle").mkdir()
    (tmp_path / "busy").mkdir()
    idle = watched(train, tmp_path / "idle")
    wall = time.monotonic
    monkeypatch.setattr(time, "monotonic", lambda: 10_000 * wall())  # every millisecond takes ten seconds
    busy = watched(train, tmp_path / "busy")
    assert len(idle.of(InputProbed)) >= 2
    assert [(one.step, one.argument, one.change) for one in busy.of(InputProbed)] == [
        (one.step, one.argument, one.change) for one in idle.of(InputProbed)
    ]
    assert not [one for one in busy.of(NotExamined) if "slowed the run" in one.reason]


def test_experiments_that_would_cost_too_much_are_left_out_and_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("traindx.watch.probes.captured.FREE_SECONDS", 0.0)
    monkeypatch.setattr("traindx.watch.probes.captured.LARGEST_SHARE", 0.0)
    evidence = watched(train, tmp_path)
    assert not evidence.of(InputProbed)
    assert [one for one in evidence.of(NotExamined) if "slowed the run" in one.reason]
