"""M217: a mask beside padded sequences that hides nothing."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from traindx.evidence.observed_evaluation import MaskGiven
from watch.inside import found, watched


class Reader(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.embed, self.head = nn.Embedding(20, 8), nn.Linear(8, 2)

    def forward(self, ids: Tensor, attention_mask: Tensor) -> Tensor:
        weights = attention_mask[..., None].float()
        return self.head((self.embed(ids) * weights).sum(1) / weights.sum(1))


def batch(kind: str) -> tuple[Tensor, Tensor]:
    lengths = [6, 9, 4, 12] if kind != "full" else [12] * 4
    ids = torch.zeros(4, 12, dtype=torch.long)
    masks = torch.ones_like(ids)
    if kind == "right":
        masks = torch.zeros_like(ids)
    for row, length in enumerate(lengths):
        ids[row, :length] = torch.randint(1, 20, (length,))
        masks[row, :length] = 1
    return ids, masks


def loop(kind: str) -> None:
    torch.manual_seed(0)
    net = Reader()
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(6):
        ids, masks = batch(kind)
        loss = F.cross_entropy(net(ids, attention_mask=masks), torch.randint(0, 2, (4,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def test_a_mask_of_ones_is_named_where_it_is_made(tmp_path: Path) -> None:
    (finding,) = found("M217", watched(lambda: loop("wrong"), tmp_path))
    assert finding.location is not None
    line = Path(__file__).read_text().splitlines()[finding.location.line - 1]
    assert line.strip() == "masks = torch.ones_like(ids)"


@pytest.mark.parametrize(("kind", "padded"), [("right", True), ("full", False)])
def test_a_mask_that_hides_and_sequences_without_padding_are_left_alone(
    kind: str, padded: bool, tmp_path: Path
) -> None:
    evidence = watched(lambda: loop(kind), tmp_path)
    assert any(one.padded for one in evidence.of(MaskGiven)) is padded
    assert not found("M217", evidence)
