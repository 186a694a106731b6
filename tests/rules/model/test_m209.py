"""M209: a frozen part whose running statistics or dropout are on, end to end from a small case."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import traindx as dx
from traindx.checks.base import CheckContext
from traindx.checks.network.frozen_parts import frozen_parts
from traindx.evidence import Evidence
from traindx.finding import Standing
from traindx.rules.model.m209_frozen_part_still_moves import frozen_part_still_moves


class Net(nn.Module):
    """A frozen encoder before a head that learns."""

    def __init__(self, middle: nn.Module, *, frozen: bool = True, still: bool = False) -> None:
        super().__init__()
        self.encoder = nn.Sequential(nn.Linear(4, 8), middle)
        self.head = nn.Linear(8, 1)
        self.still = still
        self.encoder.requires_grad_(not frozen)

    def train(self, mode: bool = True) -> Net:
        super().train(mode)
        if self.still:
            self.encoder.eval()
        return self

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.encoder(x))


def found(build):
    batches = [{"x": torch.randn(6, 4), "y": torch.randn(6, 1)} for _ in range(2)]
    case = dx.Case(
        model=build,
        train=batches,
        loss=lambda model, b: (model(b["x"]) - b["y"]).square().mean(),
        target=lambda b: b["y"],
    )
    ctx = CheckContext(case, Evidence())
    before = torch.random.get_rng_state()
    frozen_parts.function(ctx)
    assert torch.equal(torch.random.get_rng_state(), before)
    return list(frozen_part_still_moves.check(ctx.evidence))


def test_running_statistics_of_a_frozen_encoder_move():
    (finding,) = found(lambda: Net(nn.BatchNorm1d(8)))
    assert finding.standing is Standing.DEMONSTRATED
    assert "encoder" in finding.message
    assert finding.numbers["moved"] == 2
    assert finding.proposals[0].treatment == "frozen-in-evaluation"


def test_dropout_of_a_frozen_encoder_is_only_suspected():
    (finding,) = found(lambda: Net(nn.Dropout(0.5)))
    assert finding.standing is Standing.SUSPECTED


@pytest.mark.parametrize(
    "build",
    [
        lambda: Net(nn.BatchNorm1d(8), still=True),
        lambda: Net(nn.BatchNorm1d(8), frozen=False),
        lambda: Net(nn.BatchNorm1d(8, track_running_stats=False)),
        lambda: Net(nn.LayerNorm(8)),
        lambda: Net(nn.Dropout(0.0)),
        lambda: Net(nn.Dropout(0.5), still=True),
    ],
)
def test_what_is_still_or_learns_is_left_alone(build):
    assert found(build) == []


def test_a_model_that_is_frozen_altogether_is_no_frozen_part():
    assert found(lambda: Net(nn.BatchNorm1d(8)).requires_grad_(False)) == []
