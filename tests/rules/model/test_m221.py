"""M221 on branches that are given a detached copy of what they are combined with."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from traindx.evidence.observed_branches import DetachedBranch
from traindx.finding import Standing
from watch.inside import found, watched


class Parts(nn.Module):
    """Layers that every variant uses in its own way."""

    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.gate = nn.Linear(4, 6), nn.Sequential(nn.Linear(12, 8), nn.ReLU(), nn.Linear(8, 1))
        self.small, self.head, self.probe = nn.Linear(6, 6), nn.Linear(6, 1), nn.Linear(6, 1)
        self.cell = nn.GRUCell(6, 6)
        self.codes = nn.Parameter(torch.randn(5, 6))


class Messages(Parts):
    def forward(self, x: Tensor) -> Tensor:
        hidden = self.encoder(x)
        pairs = torch.arange(len(x)).roll(1)
        here, there = hidden, hidden[pairs]
        weight = self.gate(torch.cat((here, there), dim=1).detach())
        return self.head(hidden + torch.sigmoid(weight) * there)


class Correction(Parts):
    def forward(self, x: Tensor) -> Tensor:
        hidden = self.encoder(x)
        return self.head(hidden + self.small(hidden.data.view(-1, 6)))


class Quantised(Parts):
    def forward(self, x: Tensor) -> Tensor:
        hidden = self.encoder(x)
        nearest = self.codes[torch.cdist(hidden, self.codes).argmin(1)]
        through = hidden + (nearest - hidden).detach()
        return self.head(F.relu(self.small(through)) + through) + (nearest - hidden.detach()).square().mean()


class Scaled(Parts):
    def forward(self, x: Tensor) -> Tensor:
        hidden = self.encoder(x)
        return self.head(self.small(hidden / hidden.detach().abs().amax(1, keepdim=True)) + hidden)


class Probed(Parts):
    def forward(self, x: Tensor) -> Tensor:
        hidden = self.encoder(x)
        return self.head(hidden).square() + self.probe(hidden.detach()).square()


class Truncated(Parts):
    def forward(self, x: Tensor) -> Tensor:
        state, states = torch.zeros(len(x), 6), []
        for _ in range(3):
            state = self.cell(self.encoder(x), state)
            states.append(state)
            state = state.detach()
        return self.head(torch.stack(states, 1)).mean(1)


class Refined(Parts):
    def forward(self, x: Tensor) -> Tensor:
        hidden = self.encoder(x)
        outputs = []
        estimate = hidden * 0.1
        for _ in range(2):
            estimate = estimate.detach()
            estimate = estimate + self.small(estimate + hidden)
            outputs.append(self.head(estimate))
        return torch.stack(outputs).mean(0)


class Attached(Parts):
    def forward(self, x: Tensor) -> Tensor:
        hidden = self.encoder(x)
        weight = self.gate(torch.cat((hidden, hidden), dim=1))
        return self.head(torch.sigmoid(weight) * hidden) + hidden.detach().mean()


def training(kind: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    net = kind()
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    for _ in range(14):
        x = torch.randn(8, 4)
        optimizer.zero_grad()
        (net(x) - x.sum(1, keepdim=True)).square().mean().backward()
        optimizer.step()


@pytest.mark.parametrize(
    ("kind", "line"),
    [
        (Messages, "weight = self.gate(torch.cat((here, there), dim=1).detach())"),
        (Correction, "return self.head(hidden + self.small(hidden.data.view(-1, 6)))"),
    ],
)
def test_a_branch_that_meets_what_it_was_cut_off(kind: Callable[[], nn.Module], line: str, tmp_path: Path) -> None:
    (finding,) = found("M221", watched(lambda: training(kind), tmp_path))
    assert finding.standing is Standing.SUSPECTED
    assert finding.location is not None
    assert Path(__file__).read_text().splitlines()[finding.location.line - 1].strip() == line


@pytest.mark.parametrize("kind", [Quantised, Scaled, Probed, Truncated, Refined, Attached])
def test_copies_that_are_detached_for_a_reason(kind: Callable[[], nn.Module], tmp_path: Path) -> None:
    evidence = watched(lambda: training(kind), tmp_path)
    assert evidence.of(DetachedBranch)
    assert not found("M221", evidence)
