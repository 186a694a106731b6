"""A network whose ``forward`` is called directly is seen in parts only, and the report says so."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from traindx.evidence import NotExamined
from watch.inside import watched


class Net(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
        self.head = nn.Linear(8, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x))

    def loss(self, x: Tensor) -> Tensor:
        return self.head(self.body(x)).square().mean()


def said(how: str, folder: Path) -> list[NotExamined]:
    def script() -> None:
        net = Net()
        optimizer = torch.optim.SGD(net.parameters(), 0.1)
        for _ in range(4):
            x = torch.randn(5, 4)
            if how == "forward":
                loss = net.forward(x).square().mean()
            else:
                loss = net.loss(x) if how == "a method of its own" else net(x).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    return [one for one in watched(script, folder).of(NotExamined) if one.subject == "Net as a whole"]


def test_it_is_said_once_with_the_line(tmp_path: Path) -> None:
    (note,) = said("forward", tmp_path)
    assert "forward() is called directly" in note.reason
    assert note.where is not None
    assert note.where.file.endswith("test_direct_forward.py")


@pytest.mark.parametrize("how", ["a call", "a method of its own"])
def test_a_network_that_is_called_is_seen_whole(how: str, tmp_path: Path) -> None:
    assert said(how, tmp_path) == []
