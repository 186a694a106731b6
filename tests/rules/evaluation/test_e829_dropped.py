"""E829 on loaders of an evaluation that drop their last batch, and on those that have none to drop."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from traindx.evidence import Evidence
from traindx.finding import Severity, Standing
from watch.inside import found, watched


def evaluated(items: int, folder: Path, *, drops: bool = True, judges: bool = True) -> Evidence:
    def script() -> None:
        torch.manual_seed(0)
        net = nn.Linear(4, 1)
        optimizer = torch.optim.SGD(net.parameters(), 1e-2)
        train = DataLoader(TensorDataset(torch.randn(44, 4)), 8, shuffle=True, drop_last=True)
        other = DataLoader(TensorDataset(torch.randn(items, 4)), 8, drop_last=drops)
        for _ in range(4):
            for (x,) in train:
                optimizer.zero_grad()
                net(x).square().mean().backward()
                optimizer.step()
            net.eval()
            with torch.no_grad():
                seen = [float(x.mean() if not judges else net(x).mean()) for (x,) in other]
            print(sum(seen) / len(seen))
            net.train()

    return watched(script, folder)


def test_the_last_items_of_an_evaluation(tmp_path: Path) -> None:
    (finding,) = found("E829", evaluated(20, tmp_path))
    assert (finding.standing, finding.severity) == (Standing.SUSPECTED, Severity.MINOR)
    assert (finding.variant, finding.numbers["left_out"]) == ("dropped-by-the-loader", 4)
    assert finding.location is not None
    assert "other = DataLoader" in Path(__file__).read_text().splitlines()[finding.location.line - 1]


@pytest.mark.parametrize(("items", "drops", "judges"), [(20, False, True), (24, True, True), (20, True, False)])
def test_nothing_is_dropped_or_nothing_judged(items: int, drops: bool, judges: bool, tmp_path: Path) -> None:
    """Near misses: whole batches alone, and a loader whose batches no network judges. The training's may drop."""
    assert found("E829", evaluated(items, tmp_path, drops=drops, judges=judges)) == []
