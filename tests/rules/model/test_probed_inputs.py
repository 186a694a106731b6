"""M204, M205, M206 and M211 on a loop that nobody described: faulty, healthy and near misses."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from traindx.evidence.probed import InputProbed
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


class Autonomous(nn.Module):
    """A vector field that is handed the time of its solver and does not depend on it."""

    def __init__(self) -> None:
        super().__init__()
        self.net = nn.Sequential(nn.Linear(2, 16), nn.Tanh(), nn.Linear(16, 2))

    def forward(self, t: Tensor, y: Tensor) -> Tensor:
        return self.net(y)


@pytest.mark.parametrize("written", ["once", "for every sample"])
def test_an_autonomous_equation_rightly_ignores_the_time_of_its_solver(written: str, tmp_path: Path) -> None:
    def script() -> None:
        torch.manual_seed(0)
        field = Autonomous()
        optimizer = torch.optim.Adam(field.parameters(), 1e-2)
        for _ in range(7):
            y = torch.randn(8, 2)
            target = y * 0.9
            for t in torch.linspace(0, 1, 5)[:-1]:  # the midpoint rule, with a step of 1/4
                now, then = (t, t + 0.125) if written == "once" else (t.expand(8), (t + 0.125).expand(8))
                y = y + 0.25 * field(then, y + 0.125 * field(now, y))
            loss = F.mse_loss(y, target)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    evidence = watched(script, tmp_path)
    assert [one for one in evidence.of(InputProbed) if one.argument == "t"]  # it was looked at
    assert [finding.code for code in ("M204", "M205", "M206") for finding in found(code, evidence)] == []
