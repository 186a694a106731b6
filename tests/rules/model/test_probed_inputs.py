"""M204, M205, M206 and M211 on a loop that nobody described: faulty, healthy and near misses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from traindx.finding import Standing
from watch.inside import found, watched


class Denoiser(nn.Module):
    """Zero-initialised head and gate, as healthy denoisers have them."""

    def __init__(self, fault: str = "") -> None:
        super().__init__()
        self.fault = fault
        self.time = nn.Embedding(1000, 8)
        self.gate = nn.Parameter(torch.zeros(8))
        self.x, self.ct, self.mr = (nn.Conv2d(1, 8, 3, padding=1) for _ in range(3))
        self.out = nn.Conv2d(8, 1, 3, padding=1)
        nn.init.zeros_(self.out.weight)
        nn.init.zeros_(self.out.bias)

    def forward(self, x: Tensor, t: Tensor, ct: Tensor, mr: Tensor) -> Tensor:
        e = self.time((t / 1000).long() if self.fault == "time" else t)
        views = self.ct(ct) + (self.ct(mr) if self.fault == "symmetric" else self.mr(mr))
        if self.fault == "pooled":
            views = views.mean((2, 3), keepdim=True)
        if self.fault == "ct":
            views = self.mr(mr)
        h = self.x(x) + self.gate[:, None, None] * e[:, :, None, None]
        if self.fault == "constant":
            h = h * 0
        return self.out(F.silu(h + views if self.fault != "constant" else h))


def loop(fault: str) -> None:
    torch.manual_seed(0)
    net = Denoiser(fault)
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(7):
        x, ct, mr = torch.randn(3, 6, 1, 16, 16)
        loss = F.mse_loss(net(x, torch.randint(0, 1000, (6,)), ct, mr), x)
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@pytest.mark.parametrize(
    ("fault", "code", "text", "standing"),
    [
        ("time", "M206", "lost in long", Standing.DEMONSTRATED),
        ("symmetric", "M211", "ct <-> mr", Standing.SUSPECTED),
        ("pooled", "M205", "not where", Standing.SUSPECTED),
        ("ct", "M205", "ignores its argument 'ct'", Standing.DEMONSTRATED),
        ("constant", "M204", "lost in mul", Standing.DEMONSTRATED),
    ],
)
def test_a_faulty_network_is_found_where_the_difference_is_lost(
    fault: str, code: str, text: str, standing: Standing, tmp_path: Path
) -> None:
    evidence = watched(lambda: loop(fault), tmp_path)
    findings = found(code, evidence)
    assert findings, evidence.of(object)  # type: ignore[type-var]
    assert text in findings[0].message
    assert findings[0].standing is standing
    assert findings[0].location is not None
    assert findings[0].location.file.endswith("test_probed_inputs.py")


def test_a_healthy_denoiser_with_closed_gates_is_left_alone(tmp_path: Path) -> None:
    evidence = watched(lambda: loop(""), tmp_path)
    assert [finding.code for code in ("M204", "M205", "M206", "M211") for finding in found(code, evidence)] == []


def test_near_misses(tmp_path: Path) -> None:
    """A bag that is pooled over its instances, a similarity of two images, and a batch of equal samples."""

    class Bag(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.one = nn.Linear(5, 8)
            self.two = nn.Linear(8, 2)

        def forward(self, instances: Tensor) -> Tensor:
            return self.two(F.relu(self.one(instances)).mean(0, keepdim=True))

    class Pair(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.net = nn.Conv2d(1, 4, 3)

        def forward(self, a: Tensor, b: Tensor) -> Tensor:
            return (self.net(a).mean((2, 3)) - self.net(b).mean((2, 3))).square().sum(1)

    def script() -> None:
        bag, pair, same = Bag(), Pair(), nn.Linear(3, 1)
        optimizer = torch.optim.Adam([*bag.parameters(), *pair.parameters(), *same.parameters()], 1e-3)
        for _ in range(7):
            loss = F.cross_entropy(bag(torch.randn(9, 5)), torch.tensor([1]))
            loss = loss + pair(torch.randn(4, 1, 8, 8), torch.randn(4, 1, 8, 8)).mean()
            loss = loss + same(torch.ones(4, 3)).square().mean()
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    evidence = watched(script, tmp_path)
    assert [finding.code for code in ("M204", "M205", "M206", "M211") for finding in found(code, evidence)] == []
