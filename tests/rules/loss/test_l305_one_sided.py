"""L305 where a layer that is never negative stands before a loss that reads logits of two classes."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn

from traindx.finding import Standing
from watch.inside import found, watched


def loop(last: nn.Module, criterion: nn.Module) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 3), last)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(4):
        target = torch.randint(0, 2, (6, 3)).float()
        loss = criterion(
            net(torch.randn(6, 8)), target if not isinstance(criterion, nn.CrossEntropyLoss) else target.argmax(1)
        )
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@pytest.mark.parametrize("last", [nn.ReLU(), nn.Softplus()])
def test_logits_that_are_never_negative(last: nn.Module, tmp_path: Path) -> None:
    (finding,) = found("L305", watched(lambda: loop(last, nn.BCEWithLogitsLoss()), tmp_path))
    assert finding.variant == "one-sided-logits"
    assert finding.standing is Standing.DEMONSTRATED
    assert "0.69" in finding.message  # log 2: the cost of an absent class at a logit of 0


@pytest.mark.parametrize(
    ("last", "criterion"),
    [
        (nn.Identity(), nn.BCEWithLogitsLoss()),
        (nn.LeakyReLU(), nn.BCEWithLogitsLoss()),  # of any sign
        (nn.ReLU(), nn.MSELoss()),  # counts are never negative either
        (nn.ReLU(), nn.CrossEntropyLoss()),  # a softmax asks for differences alone
    ],
)
def test_what_may_well_be_so(last: nn.Module, criterion: nn.Module, tmp_path: Path) -> None:
    assert not found("L305", watched(lambda: loop(last, criterion), tmp_path))
