"""O415: a schedule that waits for a figure, and is given the number of the epoch."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import nn

from traindx.finding import Standing
from watch.inside import found, watched


def train(figure: Callable[[int, float], float], epochs: int = 8) -> None:
    torch.manual_seed(0)
    net = nn.Linear(4, 1)
    optimizer = torch.optim.SGD(net.parameters(), 1e-2)
    schedule = torch.optim.lr_scheduler.ReduceLROnPlateau(optimizer, mode="min", patience=20)
    for epoch in range(epochs):
        loss = net(torch.randn(8, 4)).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step(figure(epoch, loss.item()))


def test_the_number_of_the_epoch_is_no_figure(tmp_path: Path) -> None:
    (finding,) = found("O415", watched(lambda: train(lambda epoch, loss: epoch), tmp_path))
    assert (finding.variant, finding.standing) == ("counts", Standing.DEMONSTRATED)
    assert finding.location is not None
    assert "schedule.step(figure" in Path(__file__).read_text().splitlines()[finding.location.line - 1]


@pytest.mark.parametrize(
    "figure",
    [lambda epoch, loss: loss, lambda epoch, loss: -epoch, lambda epoch, loss: min(epoch, 5), lambda epoch, loss: 30.0],
)
def test_figures(figure: Callable[[int, float], float], tmp_path: Path) -> None:
    assert found("O415", watched(lambda: train(figure), tmp_path)) == []


def test_three_calls_may_be_chance(tmp_path: Path) -> None:
    assert found("O415", watched(lambda: train(lambda epoch, loss: epoch, epochs=3), tmp_path)) == []
