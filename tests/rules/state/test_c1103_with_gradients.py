"""C1103: passes that nobody shields from gradients, and whose outputs train nothing, in training mode."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from traindx.evidence.observed import NetworkCalls
from traindx.finding import Standing
from watch.inside import found, watched


def items(count: int) -> TensorDataset:
    x = torch.randn(count, 6)
    return TensorDataset(x, (x[:, 0] > 0).long())


def train(kind: str) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 2))
    optimizer = torch.optim.SGD(net.parameters(), 1e-2)
    loader, other = DataLoader(items(64), 8, shuffle=True), DataLoader(items(48), 8)

    def judged() -> float:
        return sum(float((net(x).argmax(1) == y).float().mean()) for x, y in other) / len(other)

    for _ in range(4):
        net.train()
        for x, y in loader:
            loss = F.cross_entropy(net(x), y)
            if kind == "pseudo-labels":
                for unlabelled, _ in other:
                    guessed = net(unlabelled).detach().argmax(1)
                    loss = loss + 0.1 * F.cross_entropy(net(unlabelled + 0.1), guessed)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        if kind == "every epoch":
            judged()
        elif kind == "in evaluation mode":
            net.eval()
            judged()
        elif kind == "one picture an epoch":
            for _ in other:
                pass
            net(torch.randn(8, 6)).argmax(1)
        elif kind == "statistics again":
            for x, _ in loader:
                net(x)
    if kind == "at the end":
        judged()


@pytest.mark.parametrize("kind", ["every epoch", "at the end"])
def test_a_pass_over_held_out_data_that_trains_nothing(kind: str, tmp_path: Path) -> None:
    evidence = watched(lambda: train(kind), tmp_path)
    assert {call.phase for call in evidence.of(NetworkCalls)} == {"training", "validation"}
    (finding,) = found("C1103", evidence)
    assert finding.variant == "validated-in-training"
    assert finding.standing is Standing.SUSPECTED
    assert finding.location is not None
    assert "net(x).argmax(1) == y" in Path(__file__).read_text().splitlines()[finding.location.line - 1]


@pytest.mark.parametrize("kind", ["in evaluation mode", "pseudo-labels", "one picture an epoch", "statistics again"])
def test_other_calls_with_gradients(kind: str, tmp_path: Path) -> None:
    assert found("C1103", watched(lambda: train(kind), tmp_path)) == []
