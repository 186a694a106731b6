"""O402, O414, O413 and L303 on loops whose steps do too much, nothing, or are not what they look like."""

from __future__ import annotations

import copy
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from traindx.evidence import Evidence
from traindx.evidence.probed import StepProbed
from traindx.finding import Standing
from watch.inside import found, watched

ALL = ("O402", "O414", "O413", "L303")


def data(step: int) -> tuple[Tensor, Tensor]:
    generator = torch.Generator().manual_seed(step)
    x = torch.rand(16, 4, generator=generator) * 3
    return x, 40 * x[:, :1] + 60


def loop(kind: str, rate: float = 1e-4, steps: int = 12) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(0.1), nn.Linear(16, 1))
    optimizer = torch.optim.SGD(net.parameters(), rate, momentum=0.9 if kind == "momentum" else 0.0)
    model = copy.deepcopy(net) if kind == "copy" else net
    parameters = model.parameters() if kind == "iterator" else list(model.parameters())
    for step in range(steps):
        x, y = data(step)
        loss = F.mse_loss(model(x), y)
        optimizer.zero_grad()
        if kind == "rewrapped":
            loss = torch.autograd.Variable(loss.data, requires_grad=True)
        elif kind == "number":
            loss = torch.tensor(loss.item(), requires_grad=True)
        loss.backward()
        nn.utils.clip_grad_norm_(parameters, 1e6)
        optimizer.step()


def codes(evidence: Evidence) -> list[str]:
    return [finding.code for code in ALL for finding in found(code, evidence)]


def line_of(finding: object) -> str:
    location = finding.location  # type: ignore[attr-defined]
    return Path(__file__).read_text().splitlines()[location.line - 1].strip()


@pytest.mark.parametrize(
    ("kind", "rate", "code", "line"),
    [
        ("", 1.0, "O402", "optimizer = torch.optim.SGD"),
        ("copy", 1e-4, "O414", "optimizer = torch.optim.SGD"),
        ("iterator", 1e-4, "O413", "nn.utils.clip_grad_norm_"),
        ("rewrapped", 1e-4, "L303", "loss = torch.autograd.Variable(loss.data"),
        ("number", 1e-4, "L303", "loss = torch.tensor(loss.item()"),
    ],
)
def test_the_fault_is_shown_at_its_line(kind: str, rate: float, code: str, line: str, tmp_path: Path) -> None:
    evidence = watched(lambda: loop(kind, rate), tmp_path)
    findings = [finding for one in ALL for finding in found(one, evidence)]
    assert [finding.code for finding in findings] == [code]
    assert findings[0].standing is Standing.DEMONSTRATED
    assert line_of(findings[0]).startswith(line)


@pytest.mark.parametrize("kind", ["", "momentum"])
def test_a_healthy_loop_is_left_alone(kind: str, tmp_path: Path) -> None:
    evidence = watched(lambda: loop(kind, 1e-4), tmp_path)
    steps = evidence.of(StepProbed)
    assert len(steps) >= 3
    assert steps[0].after < steps[0].before
    assert codes(evidence) == []


def test_the_loss_after_the_step_is_the_one_that_torch_gives(tmp_path: Path) -> None:
    """Computed by hand on a copy of the network, with the same dropout."""
    by_hand: list[tuple[float, float]] = []

    def loss_of(net: nn.Module, step: int, state: Tensor) -> Tensor:
        torch.set_rng_state(state)
        x, y = data(step)
        return (net(x) - y / 100).abs().mean()

    def script() -> None:
        torch.manual_seed(3)
        net = nn.Sequential(nn.Linear(4, 32), nn.Dropout(0.5), nn.Linear(32, 1))
        optimizer = torch.optim.Adam(net.parameters(), 1e-2)
        state = torch.get_rng_state()
        for step in range(3):
            loss = loss_of(net, step, state)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            if step in (0, 2):
                with torch.no_grad():
                    by_hand.append((float(loss.detach()), float(loss_of(copy.deepcopy(net), step, state))))

    steps = watched(script, tmp_path).of(StepProbed)
    assert [(one.before, one.after) for one in steps] == [pytest.approx(pair, rel=1e-6) for pair in by_hand]


def test_near_misses(tmp_path: Path) -> None:
    """Two optimisers, a frozen warm-up at rate zero, clipping that really is given parameters once only."""

    def script() -> None:
        torch.manual_seed(0)
        one, two = nn.Linear(4, 1), nn.Linear(4, 1)
        a, b = torch.optim.SGD(one.parameters(), 10.0), torch.optim.SGD(two.parameters(), 0.0)
        for step in range(8):
            x, y = data(step)
            for net, optimizer in ((one, a), (two, b)):
                loss = F.mse_loss(net(x), y / 1e3)
                optimizer.zero_grad()
                loss.backward()
                nn.utils.clip_grad_norm_(net.parameters() if step else [], 1e9)
                optimizer.step()

    assert codes(watched(script, tmp_path)) == []
