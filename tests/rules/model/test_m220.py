"""M220 on layers that begin alike, watched."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from watch.inside import found, watched


class Net(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.first = nn.Linear(6, 8)
        self.gate = nn.Linear(8, 8)
        self.last = nn.Linear(8, 4)
        if kind == "constant":
            for one in self.parameters():
                nn.init.constant_(one, 0.1)
        elif kind == "zero":
            for one in self.parameters():
                nn.init.zeros_(one)
        elif kind == "last layer at zero":
            nn.init.zeros_(self.last.weight)
        elif kind in ("gate at zero", "gate at zero, not used"):
            nn.init.zeros_(self.gate.weight)
        self.used = kind != "gate at zero, not used"

    def forward(self, x: Tensor) -> Tensor:
        h = torch.tanh(self.first(x))
        if not self.used:
            self.seen = self.gate(h)
            return self.last(h)
        return self.last(h + self.gate(h))


def loop(kind: str, steps: int = 14) -> None:
    torch.manual_seed(0)
    net = Net(kind)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for _ in range(steps):
        x = torch.randn(16, 6)
        loss = F.cross_entropy(net(x), x[:, :4].argmax(1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@pytest.mark.parametrize("kind", ["constant", "zero"])
def test_layers_that_stay_one_unit_wide(kind: str, tmp_path: Path) -> None:
    (finding,) = found("M220", watched(lambda: loop(kind), tmp_path))
    assert finding.numbers["units"] == 8


@pytest.mark.parametrize("kind", ["drawn", "last layer at zero", "gate at zero", "gate at zero, not used"])
def test_layers_that_grow_apart(kind: str, tmp_path: Path) -> None:
    assert not found("M220", watched(lambda: loop(kind), tmp_path))


def test_few_steps_say_nothing(tmp_path: Path) -> None:
    assert not found("M220", watched(lambda: loop("constant", steps=4), tmp_path))
