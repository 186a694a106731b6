"""L308: a blurred output, and a loss that does not ask for more."""

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import traindx as dx
from patients.sitting import findings, run_check
from traindx.checks.loss.spatially_invariant_terms import blind_terms, low_passed
from traindx.checks.network.outputs import outputs
from traindx.evidence.loss import TermDetail
from traindx.finding import Standing


class Blurring(nn.Module):
    """Hands its input on in cells of four pixels; knows everything else."""

    def __init__(self, cell: int) -> None:
        super().__init__()
        self.gain = nn.Parameter(torch.ones(1))
        self.cell = cell

    def forward(self, x):
        if self.cell == 1:
            return self.gain * x
        small = F.avg_pool2d(x, self.cell)
        return self.gain * F.interpolate(small, size=x.shape[2:], mode="bicubic")


def textured(count=8, side=32):
    generator = torch.Generator().manual_seed(0)
    noise = torch.randn(count, 1, side, side, generator=generator)
    return low_passed(noise, 0.2) * 3 + 0.5 * noise


def coarse(p, y):
    return F.mse_loss(F.avg_pool2d(p, 8), F.avg_pool2d(y, 8))


def evidence_of(loss, cell):
    y = textured()
    case = dx.Case(
        model=lambda: Blurring(cell),
        train=[{"x": y, "y": y}],
        loss=lambda model, batch: loss(model(batch["x"]), batch["y"]),
        target=lambda batch: batch["y"],
        predict=lambda model, batch: model(batch["x"]),
    )
    return run_check(case, blind_terms, outputs, trained=Blurring(cell))


def test_a_loss_on_cells_is_demonstrated_where_the_output_is_blurred():
    (finding,) = findings(evidence_of(coarse, 4), "L308")
    assert finding.standing is Standing.DEMONSTRATED


@pytest.mark.parametrize(
    ("loss", "cell"),
    [
        (F.l1_loss, 4),  # blurred for another reason
        (F.mse_loss, 4),
        (lambda p, y: {"coarse": coarse(p, y), "l1": 0.1 * F.l1_loss(p, y)}, 4),  # one term sees detail
        (coarse, 1),  # blind, and the output is sharp all the same
    ],
)
def test_silence(loss, cell):
    assert findings(evidence_of(loss, cell), "L308") == []


def test_the_squared_error_is_the_yardstick():
    """Parseval: without some frequencies the squared error rises by exactly their share, straight downhill to them."""
    for record in evidence_of(F.mse_loss, 1).of(TermDetail):
        assert record.rise == pytest.approx(record.share, rel=1e-4)
        assert record.pull == pytest.approx(1.0, abs=1e-4)


def test_low_passed_keeps_a_slow_wave_and_takes_a_fast_one():
    axis = torch.arange(32) * 2 * torch.pi / 32
    slow, fast = (torch.cos(k * axis).expand(1, 1, 32, 32) for k in (2, 12))
    assert torch.allclose(low_passed(slow + fast, 0.35), slow, atol=1e-5)
