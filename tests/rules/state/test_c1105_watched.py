"""C1105 in a script: a division that nobody seeded matters where another process will read the checkpoint."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

from traindx.evidence import Evidence
from traindx.evidence.observed_state import SplitSeen
from watch.inside import found, watched


def trained(folder: Path, *, saves: bool = True, **options: Any) -> Evidence:
    """A training on one part of a data set that was divided at random."""

    def script() -> None:
        part, _ = torch.utils.data.random_split(
            TensorDataset(torch.randn(20, 4), torch.randn(20, 1)), [16, 4], **options
        )
        model = nn.Linear(4, 1)
        optimizer = torch.optim.SGD(model.parameters(), 0.01)
        if saves:
            torch.save(model.state_dict(), folder / "before.pt")
            model.load_state_dict(torch.load(folder / "before.pt"))
        for x, y in DataLoader(part, batch_size=4):
            optimizer.zero_grad()
            nn.functional.mse_loss(model(x), y).backward()
            optimizer.step()

    return watched(script, folder)


def test_a_division_without_a_seed_beside_a_checkpoint(tmp_path: Path) -> None:
    evidence = trained(tmp_path)
    (finding,) = found("C1105", evidence)
    assert "(16, 4)" in finding.message
    assert finding.location is not None
    assert "random_split(" in Path(__file__).read_text("utf-8").splitlines()[finding.location.line - 1]


def test_a_division_by_a_generator_of_its_own(tmp_path: Path) -> None:
    evidence = trained(tmp_path, generator=torch.Generator().manual_seed(3))
    assert [split.seeded for split in evidence.of(SplitSeen)] == [True]
    assert found("C1105", evidence) == []


def test_a_division_that_no_other_process_will_ask_for(tmp_path: Path) -> None:
    """Near miss: nobody seeded it, and nothing is kept of the run."""
    evidence = trained(tmp_path, saves=False)
    assert [(split.seeded, split.checkpoints) for split in evidence.of(SplitSeen)] == [(False, False)]
    assert found("C1105", evidence) == []
