"""Milestones that are written as shares of a training: half of an odd number is a fraction."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import nn

from traindx.evidence.base import NotExamined
from traindx.evidence.observed_optim import SchedulerSeen
from watch.inside import watched


def train(epochs: int) -> None:
    net = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(net.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.MultiStepLR(optimizer, [0.5 * epochs, 0.8 * epochs], gamma=0.5)
    for _ in range(epochs):
        optimizer.zero_grad()
        net(torch.randn(8, 4)).square().mean().backward()
        optimizer.step()
        schedule.step()
    assert abs(optimizer.param_groups[0]["lr"] - 1e-2 * (0.25 if epochs % 2 == 0 else 0.5)) < 1e-9


def test_whole_milestones_are_the_length_of_a_schedule_and_fractions_never_come(tmp_path: Path) -> None:
    for epochs, first, last in ((20, 10, 16), (25, 20, 20)):
        folder = tmp_path / str(epochs)
        folder.mkdir()
        evidence = watched(lambda epochs=epochs: train(epochs), folder)
        (seen,) = evidence.of(SchedulerSeen)
        assert (seen.first_change, seen.horizon) == (first, last)
        assert not [one for one in evidence.of(NotExamined) if "Validation" in one.reason]
