"""M210 on networks of running scripts that end in an interpolation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from traindx.evidence.probed import CoarseOutputProbed
from traindx.finding import Standing
from watch.inside import found, watched


class Net(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.down = nn.Conv2d(1, 8, 4, stride=4)
        self.out = nn.Conv2d(8, 1, 1)
        self.last = nn.Conv2d(2, 1, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        h = self.out(F.relu(self.down(x)))
        up = F.interpolate(h, scale_factor=4, mode="bilinear" if self.kind == "bilinear" else "nearest")
        if self.kind == "skip":
            return self.last(torch.cat([up, x], 1))
        return up + 0.1 * x if self.kind == "sum" else up


def loop(kind: str, target: str) -> None:
    torch.manual_seed(0)
    net = Net(kind)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(7):
        smooth = F.interpolate(torch.randn(4, 1, 2, 2), 16, mode="bicubic")
        noise = torch.randn(4, 1, 16, 16)
        loss = F.mse_loss(net(smooth + noise), noise if target == "noise" else smooth)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@pytest.mark.parametrize("kind", ["nearest", "bilinear"])
def test_noise_behind_a_coarse_grid_has_the_floor_of_the_closed_form(kind: str, tmp_path: Path) -> None:
    evidence = watched(lambda: loop(kind, "noise"), tmp_path)
    (finding,) = found("M210", evidence)
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.location is not None
    assert "F.interpolate(h" in Path(__file__).read_text().splitlines()[finding.location.line - 1]
    # white noise of unit variance outside a subspace of 1/16 of the dimensions
    assert float(finding.numbers["loss_floor"]) == pytest.approx(15 / 16, abs=0.06)


@pytest.mark.parametrize(
    ("kind", "target", "seen"),
    [("nearest", "smooth", True), ("skip", "noise", False), ("sum", "noise", False)],
)
def test_a_smooth_target_and_a_way_around_are_left_alone(kind: str, target: str, seen: bool, tmp_path: Path) -> None:
    evidence = watched(lambda: loop(kind, target), tmp_path)
    assert bool(evidence.of(CoarseOutputProbed)) is seen
    assert not found("M210", evidence)
