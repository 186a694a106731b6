"""M211 on views in one tensor that a watched script averages."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from traindx.evidence.probed import ViewsMerged
from traindx.finding import Standing
from watch.inside import found, watched


class TwoViews(nn.Module):
    """Two radiographs to a volume (or to a label)."""

    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.encoder = nn.Sequential(nn.Conv2d(1, 4, 3, stride=2, padding=1), nn.ReLU())
        self.view = nn.Parameter(torch.randn(2, 4, 1, 1) * 0.1)
        self.lift = nn.Linear(4 * 16, 64)
        self.concatenated = nn.Linear(2 * 4 * 16, 64)
        self.label = nn.Linear(64, 3)

    def forward(self, views: Tensor) -> Tensor:
        batch, count = views.shape[:2]
        seen = self.encoder(views.view(batch * count, *views.shape[2:]))
        seen = seen.view(batch, count, *seen.shape[1:])
        if self.kind == "told apart":
            seen = seen + self.view
        if self.kind == "concatenated":
            return self.concatenated(seen.flatten(1)).view(batch, 1, 4, 4, 4)
        volume = self.lift(seen.mean(dim=1).flatten(1))
        return self.label(volume) if self.kind == "label" else volume.view(batch, 1, 4, 4, 4)


def loop(kind: str) -> None:
    torch.manual_seed(0)
    net = TwoViews(kind)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(4):
        output = net(torch.randn(3, 2, 1, 8, 8))
        if kind == "label":
            loss = F.cross_entropy(output, torch.randint(0, 3, (3,)))
        else:
            loss = F.mse_loss(output, torch.randn(3, 1, 4, 4, 4))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    with torch.no_grad():  # a validation afterwards is no other matter
        net.eval()(torch.randn(3, 2, 1, 8, 8))


def test_averaged_views_of_a_volume(tmp_path: Path) -> None:
    (finding,) = found("M211", watched(lambda: loop("averaged"), tmp_path))
    assert finding.standing is Standing.SUSPECTED
    assert finding.location is not None
    assert "seen.mean(dim=1)" in Path(__file__).read_text().splitlines()[finding.location.line - 1]
    # and it is true: exchanging the views changes exactly nothing
    net, views = TwoViews("averaged").eval(), torch.randn(1, 2, 1, 8, 8)
    assert torch.allclose(net(views), net(views.flip(1)), atol=1e-6)


@pytest.mark.parametrize(("kind", "merged"), [("told apart", False), ("concatenated", False), ("label", True)])
def test_views_that_are_told_apart_or_need_not_be(kind: str, merged: bool, tmp_path: Path) -> None:
    """An embedding of the view before the mean; concatenation; a label, for which the order may not matter."""
    evidence = watched(lambda: loop(kind), tmp_path)
    assert not found("M211", evidence)
    assert bool(evidence.of(ViewsMerged)) is merged
