"""M215: tensors with a gradient that are plain attributes of a module."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from traindx.finding import Standing
from watch.inside import found, watched


class Gate(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.body = nn.Linear(3, 3)
        if kind == "computed":
            self.scale = nn.Parameter(torch.ones(1, 3)).squeeze(0)
        elif kind in ("leaf", "by hand", "given to the optimiser"):
            self.scale = torch.ones(3, requires_grad=True)
        elif kind == "parameter":
            self.scale = nn.Parameter(0.1 * torch.ones(3))
        else:
            self.scale = torch.ones(3)
        self.kind = kind

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        out = self.body(x) * self.scale
        if self.kind == "activation":
            self.last = out
        return out


def train(kind: str) -> None:
    net = Gate(kind)
    parameters = [*net.parameters(), *([net.scale] if kind == "given to the optimiser" else [])]
    optimizer = torch.optim.SGD(parameters, 0.01)
    for _ in range(40):
        optimizer.zero_grad()
        net(torch.randn(6, 3)).square().mean().backward()
        optimizer.step()
        if kind == "by hand":
            with torch.no_grad():
                net.scale -= 0.01 * net.scale.grad
            net.scale.grad = None


@pytest.mark.parametrize("kind", ["computed", "leaf"])
def test_a_tensor_that_no_step_changes(kind: str, tmp_path: Path) -> None:
    (finding,) = found("M215", watched(lambda: train(kind), tmp_path))
    assert finding.variant == "plain-tensor"
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.location is not None
    line = Path(__file__).read_text().splitlines()[finding.location.line - 1]
    assert "self.scale =" in line


@pytest.mark.parametrize("kind", ["parameter", "by hand", "given to the optimiser", "constant", "activation"])
def test_what_is_trained_constant_or_made_anew(kind: str, tmp_path: Path) -> None:
    assert found("M215", watched(lambda: train(kind), tmp_path)) == []
