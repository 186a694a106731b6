"""O410 on teachers whose running statistics are forgotten."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
from torch import nn

from traindx.evidence.observed_state import StatisticsSeen
from traindx.finding import Standing
from watch.inside import found, watched


def loop(kind: str) -> None:
    torch.manual_seed(0)
    student = nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.ReLU(), nn.Linear(8, 1))
    if kind == "warm":
        student(torch.randn(32, 4) + 1)
    teacher = copy.deepcopy(student).requires_grad_(False)
    optimizer = torch.optim.Adam(student.parameters(), 1e-2)
    for _ in range(6):
        student.train()
        teacher.train(kind == "training mode")
        x = torch.randn(8, 4)
        with torch.no_grad():
            target = teacher(x)
        (student(x) - target - 1).square().mean().backward()
        optimizer.step()
        optimizer.zero_grad()
        with torch.no_grad():
            for online, slow in zip(student.parameters(), teacher.parameters(), strict=True):
                if kind != "frozen":
                    slow.data.mul_(0.9).add_(online.data, alpha=0.1)
            for online, slow in zip(student.buffers(), teacher.buffers(), strict=True):
                if kind == "copied":
                    slow.copy_(online)


@pytest.mark.parametrize(("kind", "standing"), [("forgotten", Standing.DEMONSTRATED), ("warm", Standing.SUSPECTED)])
def test_forgotten_statistics_are_placed_at_the_update(kind: str, standing: Standing, tmp_path: Path) -> None:
    (finding,) = found("O410", watched(lambda: loop(kind), tmp_path))
    assert finding.standing is standing
    assert finding.location is not None
    assert "slow.data.mul_" in Path(__file__).read_text().splitlines()[finding.location.line - 1]


@pytest.mark.parametrize("kind", ["copied", "training mode", "frozen"])
def test_a_complete_or_a_frozen_copy_is_left_alone(kind: str, tmp_path: Path) -> None:
    evidence = watched(lambda: loop(kind), tmp_path)
    assert bool(evidence.of(StatisticsSeen)) is (kind != "training mode")
    assert not found("O410", evidence)
