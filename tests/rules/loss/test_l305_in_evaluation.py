"""L305 where only evaluation applies the activation before the loss: the line that does so is the cause."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from watch.inside import found, watched


class Net(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.body = nn.Linear(8, 1)
        self.final = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        x = self.body(x)
        if self.kind == "always" or (self.kind == "in evaluation" and not self.training):
            x = self.final(x)
        return x


def loop(kind: str) -> None:
    torch.manual_seed(0)
    net, criterion = Net(kind), nn.BCEWithLogitsLoss()
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(3):
        net.train()
        loss = criterion(net(torch.randn(6, 8)), torch.randint(0, 2, (6, 1)).float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        net.eval()
        with torch.no_grad():
            x, y = torch.randn(6, 8), torch.randint(0, 2, (6, 1)).float()
            criterion(net(x), y)
            net.final(net(x)).round()


@pytest.mark.parametrize(
    ("kind", "line"), [("in evaluation", "x = self.final(x)"), ("always", "self.final = nn.Sigmoid()")]
)
def test_the_place_is_the_line_that_differs(kind: str, line: str, tmp_path: Path) -> None:
    first = found("L305", watched(lambda: loop(kind), tmp_path))[0]
    assert first.location is not None
    assert Path(__file__).read_text().splitlines()[first.location.line - 1].strip() == line


def test_an_activation_for_scores_alone_is_left_alone(tmp_path: Path) -> None:
    assert not found("L305", watched(lambda: loop("never"), tmp_path))
