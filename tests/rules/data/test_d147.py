"""D147 on loaders that are begun in every step, watched."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch.utils.data import DataLoader, TensorDataset

from traindx.evidence.observed_state import LoaderSeen
from watch.inside import found, watched


def loop(kind: str) -> None:
    torch.manual_seed(0)
    x = torch.randn(64, 6)
    loader = DataLoader(TensorDataset(x, x[:, :3].argmax(1)), 8, shuffle=kind == "shuffled")
    net = torch.nn.Linear(6, 3)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for _ in range(3 if kind == "whole passes" else 16):
        for index, (a, b) in enumerate(loader):
            loss = F.cross_entropy(net(a), b)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if kind in ("begun in every step", "shuffled") or (kind == "most of it" and index == 5):
                break


def test_the_same_batch_in_every_step(tmp_path: Path) -> None:
    (finding,) = found("D147", watched(lambda: loop("begun in every step"), tmp_path))
    assert (finding.numbers["deepest"], finding.numbers["batches"], finding.numbers["passes"]) == (1, 8, 16)


@pytest.mark.parametrize("kind", ["shuffled", "whole passes", "most of it"])
def test_loaders_that_are_read_or_drawn_from(kind: str, tmp_path: Path) -> None:
    evidence = watched(lambda: loop(kind), tmp_path)
    assert evidence.of(LoaderSeen)
    assert not found("D147", evidence)
