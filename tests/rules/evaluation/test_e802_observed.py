"""E802 on figures in decibels of a watched script."""

from __future__ import annotations

import math
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from traindx.evidence.probed import PeakFromTarget
from traindx.finding import Standing
from watch.inside import found, watched


def loop(kind: str) -> None:
    torch.manual_seed(0)
    net = nn.Conv2d(1, 1, 3, padding=1)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(4):
        images = torch.rand(4, 1, 8, 8)
        loss = F.mse_loss(net(images), images)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    net.eval()
    with torch.no_grad():
        for size in (1.0, 2.0, 4.0):
            image = torch.rand(1, 1, 8, 8)
            image = image / image.max() * (1.0 if kind == "normalised" else size)
            mse = ((net(image) - image) ** 2).mean()
            if kind == "constant":
                20 * torch.log10(4.0 / torch.sqrt(mse))
            elif kind == "signal to noise":
                10 * torch.log10((image**2).mean() / mse)
            else:
                peak = image.max()
                20 * torch.log10(peak / (torch.sqrt(mse) + 1e-8))


def test_the_peak_of_each_image(tmp_path: Path) -> None:
    (finding,) = found("E802", watched(lambda: loop("each"), tmp_path))
    assert finding.standing is Standing.SUSPECTED
    assert finding.location is not None
    assert "peak = image.max()" in Path(__file__).read_text().splitlines()[finding.location.line - 1]
    assert float(finding.numbers["spread_db"]) == pytest.approx(20 * math.log10(4), abs=0.01)


@pytest.mark.parametrize(("kind", "seen"), [("constant", False), ("signal to noise", False), ("normalised", True)])
def test_peaks_that_are_the_same_for_all(kind: str, seen: bool, tmp_path: Path) -> None:
    """A peak by design; a ratio of powers; images whose largest value is 1 by design."""
    evidence = watched(lambda: loop(kind), tmp_path)
    assert not found("E802", evidence)
    assert bool(evidence.of(PeakFromTarget)) is seen
