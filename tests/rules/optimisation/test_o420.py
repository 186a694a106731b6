"""O420: weight decay against the loss, from the first steps on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.nn.functional as F

from traindx.evidence.observed_optim import WeightDecaySeen
from traindx.finding import Standing
from watch.inside import found, watched

Maker = Callable[[Any], torch.optim.Optimizer]


def train(make: Maker, scale: float = 1.0) -> None:
    torch.manual_seed(0)
    net = torch.nn.Sequential(torch.nn.Linear(16, 32), torch.nn.ReLU(), torch.nn.Linear(32, 3))
    optimizer = make(net.parameters())
    for _ in range(120):
        x = torch.randn(32, 16)
        loss = scale * F.cross_entropy(net(x), x[:, :3].argmax(1))
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


def test_a_decay_of_a_half_in_adam(tmp_path: Path) -> None:
    evidence = watched(lambda: train(lambda p: torch.optim.Adam(p, 1e-2, weight_decay=0.5)), tmp_path)
    (finding,) = found("O420", evidence)
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.location is not None
    assert "weight_decay=0.5" in Path(__file__).read_text().splitlines()[finding.location.line - 1]


def test_the_share_is_that_of_the_norms_at_the_first_step(tmp_path: Path) -> None:
    expected = []

    def make(parameters: Any) -> torch.optim.Optimizer:
        held = list(parameters)

        class First:
            done = False

        def look(*_: Any) -> None:
            if not First.done:
                First.done = True
                weights = torch.cat([one.detach().flatten() for one in held]).norm()
                gradients = torch.cat([one.grad.flatten() for one in held]).norm()
                expected.append(float(0.25 * weights / gradients))

        optimizer = torch.optim.SGD(held, 0.1, weight_decay=0.25)
        optimizer.register_step_pre_hook(look)
        return optimizer

    (seen,) = watched(lambda: train(make), tmp_path).of(WeightDecaySeen)
    assert seen.shares[0] == pytest.approx(expected[0], rel=1e-4)


@pytest.mark.parametrize(
    ("make", "scale"),
    [
        (lambda p: torch.optim.AdamW(p, 1e-3, weight_decay=0.5), 1.0),  # beside the gradient, not in it
        (lambda p: torch.optim.Adam(p, 1e-3, weight_decay=1e-3), 1.0),
        (lambda p: torch.optim.SGD(p, 0.1, weight_decay=5e-4), 1e-4),  # a usual one, beside small gradients
        (lambda p: torch.optim.SGD(p, 0.1, weight_decay=0.05), 1.0),  # strong, and the loss is stronger
    ],
)
def test_usual_decay_decoupled_decay_and_one_that_the_loss_withstands(
    make: Maker, scale: float, tmp_path: Path
) -> None:
    assert not found("O420", watched(lambda: train(make, scale), tmp_path))
