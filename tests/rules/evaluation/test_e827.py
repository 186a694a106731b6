"""E827 on validations that cut off at different places, watched."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.data import DataLoader, TensorDataset

from traindx.evidence.observed_evaluation import OutputThreshold
from watch.inside import found, watched


def decided(kind: str, output: Tensor) -> Tensor:
    if kind == "logits":
        return output.squeeze(1).detach() > 0.5
    if kind == "probabilities":
        return output.squeeze(1).sigmoid() > 0.5
    if kind == "logits at zero":
        return output.squeeze(1) > 0
    return output.squeeze(1).clamp(-0.2, 1.2) > 0.5


def loop(kind: str, loss: str = "logits") -> None:
    torch.manual_seed(0)
    x = torch.randn(48, 6)
    y = (x[:, 0] > 0).float()
    data = DataLoader(TensorDataset(x, y), 8)
    net = nn.Linear(6, 1)
    optimizer = torch.optim.Adam(net.parameters(), 0.3)
    for _ in range(3):
        net.train()
        for a, b in data:
            out = net(a).squeeze(1)
            total = F.binary_cross_entropy_with_logits(out, b) if loss == "logits" else F.mse_loss(out, b)
            optimizer.zero_grad()
            total.backward()
            optimizer.step()
        net.eval()
        with torch.no_grad():
            sum((decided(kind, net(a)) == b.bool()).sum().item() for a, b in data)


def test_logits_that_are_taken_for_probabilities(tmp_path: Path) -> None:
    (finding,) = found("E827", watched(lambda: loop("logits"), tmp_path))
    assert finding.location is not None
    assert "detach() > 0.5" in Path(__file__).read_text().splitlines()[finding.location.line - 1]
    assert finding.numbers["low"] < -0.5


@pytest.mark.parametrize("kind", ["probabilities", "logits at zero", "clamped"])
def test_other_ways_to_decide(kind: str, tmp_path: Path) -> None:
    assert not watched(lambda: loop(kind), tmp_path).of(OutputThreshold)


def test_a_regression_is_cut_off_where_it_likes(tmp_path: Path) -> None:
    evidence = watched(lambda: loop("logits", "squares"), tmp_path)
    assert evidence.of(OutputThreshold)
    assert not found("E827", evidence)
