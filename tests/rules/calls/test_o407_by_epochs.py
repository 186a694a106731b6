"""O407: a schedule whose length counts batches, moved on by epochs."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.optim.lr_scheduler import CosineAnnealingLR, OneCycleLR
from torch.utils.data import DataLoader, TensorDataset

from traindx.finding import Standing
from watch.inside import found, watched

EPOCHS = 8


def train(kind: str) -> None:
    net = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    loader = DataLoader(TensorDataset(torch.randn(20, 4)), batch_size=4)
    total = EPOCHS * len(loader)
    if kind == "cosine of epochs":
        schedule = CosineAnnealingLR(optimizer, EPOCHS * 5)  # forty passes, longer than the run, and meant so
    else:
        schedule = OneCycleLR(optimizer, 0.1, total_steps=total)
    for epoch in range(4):
        for (x,) in loader:
            optimizer.zero_grad()
            net(x).square().mean().backward()
            optimizer.step()
            if kind == "every batch":
                schedule.step()
            if kind == "set to the epoch":
                schedule.step(epoch)
        if kind in ("once a pass", "cosine of epochs"):
            schedule.step()


@pytest.mark.parametrize("kind", ["once a pass", "set to the epoch"])
@pytest.mark.filterwarnings("ignore")
def test_a_schedule_of_batches_that_moves_by_epochs_is_shown(kind: str, tmp_path: Path) -> None:
    findings = found("O407", watched(lambda: train(kind), tmp_path))
    finding = next(one for one in findings if one.variant == "by-epochs")
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.location is not None
    assert "schedule.step(" in Path(__file__).read_text().splitlines()[finding.location.line - 1]
    assert finding.numbers["horizon"] == 40
    assert finding.numbers["position"] <= 4


@pytest.mark.parametrize("kind", ["every batch", "cosine of epochs"])
def test_a_schedule_that_moves_as_it_counts_is_left_alone(kind: str, tmp_path: Path) -> None:
    assert not found("O407", watched(lambda: train(kind), tmp_path))
