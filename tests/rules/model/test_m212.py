"""M212 on layers that are constructed in `forward`."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from traindx.finding import Standing
from watch.inside import found, watched


class Net(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.first = nn.Linear(4, 8)
        self.late: nn.Module | None = None
        self.layers = nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 1))
        self.unregistered = [nn.Linear(8, 1)]

    def forward(self, x: Tensor) -> Tensor:  # noqa: PLR0911
        h = self.first(x)
        if self.kind == "anew":
            return nn.Linear(8, 1)(h)
        if self.kind == "activation":
            return nn.Softplus()(nn.Dropout(0.1)(h)).mean(1)
        if self.kind == "late":
            if self.late is None:
                self.late = nn.Linear(8, 1)
            return self.late(h)
        if self.kind == "sliced":
            return self.layers[1:](self.layers[:1](h))
        if self.kind == "gathered":
            return nn.Sequential(*self.unregistered)(h)
        if self.kind == "shared":
            tied = nn.Linear(8, 8)
            tied.weight, tied.bias = self.layers[0].weight, self.layers[0].bias
            return tied(h)
        return h.mean(1)


def loop(kind: str) -> None:
    net = Net(kind)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(5):
        spare = nn.Linear(4, 4)  # not while the network is called
        net(spare(torch.randn(3, 4))).mean().backward()
        optimizer.step()


def test_a_layer_that_is_drawn_anew_is_shown_at_its_line(tmp_path: Path) -> None:
    (finding,) = found("M212", watched(lambda: loop("anew"), tmp_path))
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.location is not None
    assert Path(__file__).read_text().splitlines()[finding.location.line - 1].strip() == "return nn.Linear(8, 1)(h)"
    assert finding.numbers["calls"] == 5


@pytest.mark.parametrize("kind", ["activation", "late", "plain", "sliced", "gathered", "shared"])
def test_what_has_no_weights_or_is_kept_is_left_alone(kind: str, tmp_path: Path) -> None:
    assert not found("M212", watched(lambda: loop(kind), tmp_path))
