"""L322: weights of a loss that its own call replaces."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from traindx.finding import Standing
from watch.inside import found, watched


class Focal(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.alpha = torch.tensor([0.2, 0.3, 0.5])
        self.register_buffer("centre", torch.zeros(3))

    def forward(self, logits: Tensor, target: Tensor) -> Tensor:
        alpha = self.alpha[target % len(self.alpha)]
        if self.kind == "replaced":
            self.alpha = alpha
        if self.kind == "moving average":
            self.centre = 0.9 * self.centre + 0.1 * logits.detach().mean(0)
        return (alpha * nn.functional.cross_entropy(logits, target, reduction="none")).mean()


def train(kind: str) -> None:
    net, criterion = nn.Linear(4, 3), Focal(kind)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for _ in range(4):
        criterion(net(torch.randn(8, 4)), torch.randint(0, 3, (8,))).backward()
        optimizer.step()


def test_weights_that_become_those_of_the_batch_are_shown_at_their_line(tmp_path: Path) -> None:
    (finding,) = found("L322", watched(lambda: train("replaced"), tmp_path))
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.location is not None
    assert Path(__file__).read_text().splitlines()[finding.location.line - 1].strip() == "self.alpha = alpha"
    assert (finding.numbers["first"], finding.numbers["last"]) == (3, 8)


@pytest.mark.parametrize("kind", ["kept", "moving average"])
def test_weights_that_stay_or_follow_are_left_alone(kind: str, tmp_path: Path) -> None:
    assert not found("L322", watched(lambda: train(kind), tmp_path))
