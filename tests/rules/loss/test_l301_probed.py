"""L301 on losses of running scripts that prefer another sample's target."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from traindx.evidence.probed import OrderProbed
from watch.inside import found, watched

bce = F.binary_cross_entropy_with_logits


def soft_dice(probability: Tensor, target: Tensor) -> Tensor:
    both = 2 * (probability * target).sum((1, 2, 3)) + 1
    return both / (probability.sum((1, 2, 3)) + target.sum((1, 2, 3)) + 1)


FAULTY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "sign": lambda y, t: -F.mse_loss(y, t),
    "similarity minimised": lambda y, t: soft_dice(y.sigmoid(), t).mean() + 0.01 * bce(y, t),
    "inverted": lambda y, t: (y.sigmoid() - t).abs().mul(-1).add(1).mean(),
}
HEALTHY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "mse": F.mse_loss,
    "dice and bce": lambda y, t: 1 - soft_dice(y.sigmoid(), t).mean() + bce(y, t),
    "focal": lambda y, t: (
        F.binary_cross_entropy_with_logits(y, t, reduction="none") * (y.sigmoid() - t).abs() ** 2
    ).mean(),
    "by hand": lambda y, t: (y.tanh() - (2 * t - 1)).square().mean() + 0.1 * (y[..., 1:] - y[..., :-1]).abs().mean(),
    "smoothed": lambda y, t: F.cross_entropy(torch.cat([-y, y], 1), t[:, 0].long(), label_smoothing=0.2),
}


def loop(loss_of: Callable[[Tensor, Tensor], Tensor]) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Conv2d(1, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 1, 1))
    optimizer = torch.optim.Adam(net.parameters(), 1e-3)
    for _ in range(7):
        x = torch.randn(6, 1, 8, 8)
        loss = loss_of(net(x), (x > 0.3).float())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


@pytest.mark.parametrize("name", FAULTY)
def test_a_loss_that_prefers_worse_is_shown(name: str, tmp_path: Path) -> None:
    evidence = watched(lambda: loop(FAULTY[name]), tmp_path)
    (finding,) = found("L301", evidence)
    assert finding.numbers["perfect"] > finding.numbers["shuffled"]  # type: ignore[operator]


@pytest.mark.parametrize("name", HEALTHY)
def test_a_healthy_loss_is_left_alone(name: str, tmp_path: Path) -> None:
    evidence = watched(lambda: loop(HEALTHY[name]), tmp_path)
    assert evidence.of(OrderProbed) or name == "smoothed"
    assert not found("L301", evidence)


def test_a_reward_and_a_constant_target_are_no_order(tmp_path: Path) -> None:
    def script() -> None:
        torch.manual_seed(0)
        net = nn.Linear(4, 3)
        optimizer = torch.optim.Adam(net.parameters(), 1e-3)
        for _ in range(7):
            logits = net(torch.randn(8, 4))
            chosen, advantage = torch.randint(0, 3, (8,)), torch.randn(8) - 2
            loss = (F.cross_entropy(logits, chosen, reduction="none") * advantage).mean()
            loss = loss - F.mse_loss(logits, torch.ones(8, 3))
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()

    assert not found("L301", watched(script, tmp_path))


def test_perfect_is_what_torch_says_of_the_target_itself(tmp_path: Path) -> None:
    """For a mean squared error the perfect output costs 0, and the shuffled one what the targets cost each other."""
    targets: list[Tensor] = []

    def loss_of(y: Tensor, t: Tensor) -> Tensor:
        targets.append(t)
        return F.mse_loss(y, t)

    first = watched(lambda: loop(loss_of), tmp_path).of(OrderProbed)[0]
    assert first.perfect == 0.0
    assert first.shuffled == pytest.approx(float(F.mse_loss(targets[0].roll(3, 0), targets[0])))
