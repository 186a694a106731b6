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
    expected: list[tuple[float, float]] = []

    def script() -> None:
        torch.manual_seed(3)
        net = nn.Sequential(nn.Linear(4, 32), nn.Dropout(0.5), nn.Linear(32, 1))
        optimizer = torch.optim.Adam(net.parameters(), 1e-2)
        for step in range(3):
            x, y = data(step)
            state = torch.get_rng_state()
            loss = (net(x) - y / 100).abs().mean() + 0.1 * net[0].weight.detach().square().sum()
            loss.backward()
            optimizer.step()
            after = torch.get_rng_state()
            penalty = float(loss.detach()) - float((_again(net, x, state) - y / 100).abs().mean())
            del penalty
            torch.set_rng_state(after)
            if step == 0:
                with torch.no_grad():
                    error = float((_again(net, x, state) - y / 100).abs().mean())
                torch.set_rng_state(after)
                expected.append((float(loss.detach()), error))
            optimizer.zero_grad()

    def _again(net: nn.Module, x: Tensor, state: Tensor) -> Tensor:
        torch.set_rng_state(state)
        with torch.no_grad():
            return copy.deepcopy(net)(x)

    (first, *_) = watched(script, tmp_path).of(StepProbed)
    penalty = expected[0][0] - first.before
    assert penalty == pytest.approx(0.0, abs=1e-6)
    with_penalty_of_before = first.after - expected[0][1]
    assert 0 < with_penalty_of_before < expected[0][0]


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
