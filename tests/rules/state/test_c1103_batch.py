"""C1103 on normalisations that go by the batch in evaluation."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from traindx.evidence.probed import BatchProbed
from traindx.finding import Standing
from watch.inside import found, watched


class BatchNorm(nn.Module):
    def __init__(self, running: bool) -> None:
        super().__init__()
        self.running = running
        self.mean: Tensor
        self.register_buffer("mean", torch.zeros(16))

    def forward(self, x: Tensor) -> Tensor:
        if self.running and not self.training:
            return x - self.mean
        centre = x.mean(0)
        self.mean.copy_(0.9 * self.mean + 0.1 * centre.detach())
        return x - centre


class Net(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.a, self.b = nn.Linear(8, 16), nn.Linear(16, 2)
        kinds = {"own": BatchNorm(False), "running": BatchNorm(True), "library": nn.BatchNorm1d(16)}
        self.norm = kinds.get(kind, nn.BatchNorm1d(16, track_running_stats=False))

    def forward(self, x: Tensor) -> Tensor:
        if self.kind.startswith("weights"):
            x = x * self.a(x)[:, :8].softmax(0 if self.kind == "weights of the batch" else 1)
        if self.kind == "input":
            x = (x - x.mean()) / x.std()
        elif self.kind == "each":
            x = (x - x.mean(1, keepdim=True)) / x.std(1, keepdim=True)
        h = self.a(x)
        if self.kind not in ("input", "each", "attention") and "weights" not in self.kind:
            h = self.norm(h)
        if self.kind == "attention":
            h = (h @ h.T).softmax(1) @ h
        return self.b(F.relu(h))


def loop(kind: str) -> None:
    torch.manual_seed(0)
    net = Net(kind)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(3):
        net.train()
        loss = F.cross_entropy(net(torch.randn(6, 8)), torch.randint(0, 2, (6,)))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        net.eval()
        with torch.no_grad():
            net(torch.randn(6, 8))


LINES = {
    "own": "centre = x.mean(0)",
    "input": "x = (x - x.mean()) / x.std()",
    "weights of the batch": 'x = x * self.a(x)[:, :8].softmax(0 if self.kind == "weights of the batch" else 1)',
}


@pytest.mark.parametrize("kind", list(LINES))
def test_what_goes_by_the_batch_is_suspected(kind: str, tmp_path: Path) -> None:
    (finding,) = found("C1103", watched(lambda: loop(kind), tmp_path))
    assert finding.standing is Standing.SUSPECTED
    assert finding.location is not None
    assert Path(__file__).read_text().splitlines()[finding.location.line - 1].strip() == LINES[kind]


@pytest.mark.parametrize("kind", ["running", "library", "chosen so", "each", "attention", "weights of each"])
def test_what_goes_by_running_statistics_or_is_meant_is_left_alone(kind: str, tmp_path: Path) -> None:
    evidence = watched(lambda: loop(kind), tmp_path)
    assert evidence.of(BatchProbed)
    assert not found("C1103", evidence)


def test_instances_of_a_bag_are_no_samples(tmp_path: Path) -> None:
    """Attention pooling: one prediction a bag, and a weight an instance (Ilse et al. 2018)."""

    class Bag(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.score, self.head = nn.Linear(8, 1), nn.Linear(8, 1)

        def forward(self, x: Tensor) -> tuple[Tensor, Tensor]:
            weights = self.score(x).softmax(0)
            return self.head((weights * x).sum(0)), weights

    def bags() -> None:
        torch.manual_seed(0)
        net = Bag()
        optimizer = torch.optim.Adam(net.parameters(), 1e-2)
        for _ in range(3):
            net.train()
            loss = F.binary_cross_entropy_with_logits(net(torch.randn(6, 8))[0], torch.ones(1))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            net.eval()
            with torch.no_grad():
                net(torch.randn(6, 8))

    assert not found("C1103", watched(bags, tmp_path))
