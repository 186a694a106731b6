"""L302 leaves a term alone that compares with the output of another network, however it is averaged."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from traindx.evidence.observed_loss import LossTermSeen
from watch.inside import found, watched


def train(reduction: str) -> None:
    torch.manual_seed(0)
    net, teacher = nn.Linear(6, 4), nn.Linear(6, 4)
    optimizer = torch.optim.SGD(net.parameters(), 0.01)
    for _ in range(12):
        x = torch.randn(16, 6)
        with torch.no_grad():
            wanted = (9 * teacher(x)).softmax(1)
        out = net(x)
        soft = F.kl_div(out.log_softmax(1), wanted, reduction=reduction)
        hard = F.cross_entropy(out, torch.randint(0, 4, (16,)))
        optimizer.zero_grad()
        (0.9 * soft + 0.1 * hard).backward()
        optimizer.step()


@pytest.mark.filterwarnings("ignore:reduction")
@pytest.mark.parametrize("reduction", ["batchmean", "mean", "sum"])
def test_a_teacher_is_data(reduction: str, tmp_path: Path) -> None:
    evidence = watched(lambda: train(reduction), tmp_path)
    terms = {term.name: term for term in evidence.of(LossTermSeen)}
    assert set(terms) == {"soft", "hard"}
    assert terms["soft"].meets_data
    assert terms["soft"].sums is (reduction == "sum")
    assert terms["soft"].weight == pytest.approx(0.9)
    assert not found("L302", evidence)
