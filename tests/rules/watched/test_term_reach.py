"""L303 in scripts with two networks and two optimisers: whose weights each term of a loss moves."""

from __future__ import annotations

import pytest

from rules.watched.conftest import Examined
from traindx.finding import Finding, Standing

SCRIPT = """
import torch
from torch import nn
import torch.nn.functional as F

torch.manual_seed(0)
maker = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 8))
judge = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Linear(16, 1))
factor = nn.Parameter(torch.zeros(2))
first = torch.optim.Adam(HELD, 1e-3)
second = torch.optim.Adam(judge.parameters(), 1e-3)
for step in range(24):
    source = torch.randn(16, 8)
    real = source.roll(1, 1)
    made = maker(source)
    first.zero_grad()
    score = judge(SEEN)
    fooled = F.mse_loss(score, torch.ones_like(score))
    close = F.l1_loss(made, real)
    loss = LOSS
    loss.backward()
    first.step()
    second.zero_grad()
    right, wrong = judge(real), judge(made.detach())
    told = F.mse_loss(right, torch.ones_like(right)) + F.mse_loss(wrong, torch.zeros_like(wrong))
    told.backward()
    second.step()
"""


def reached(
    examined: Examined, *, held: str = "maker.parameters()", seen: str = "made", loss: str = "fooled + 10 * close"
) -> tuple[str, list[Finding]]:
    text = SCRIPT.replace("HELD", held).replace("SEEN", seen).replace("LOSS", loss)
    return text, [finding for finding in examined(text) if finding.code == "L303"]


def test_a_score_of_a_detached_image_teaches_the_generator_nothing(examined: Examined) -> None:
    text, (finding,) = reached(examined, seen="made.detach()")
    assert finding.standing is Standing.DEMONSTRATED
    assert "fooled" in finding.message
    assert finding.location is not None
    assert "fooled = " in text.lstrip("\n").splitlines()[finding.location.line - 1]


def test_a_learned_weight_of_the_loss_that_nobody_holds(examined: Examined) -> None:
    _, (finding,) = reached(examined, loss="fooled + 10 * close + factor.square().sum()")
    assert "no optimiser holds" in finding.message


@pytest.mark.parametrize(
    "change",
    [
        {},  # the score reaches the maker through its image
        {"seen": "made.detach()", "held": "[*maker.parameters(), *judge.parameters()]"},  # one optimiser moves both
        {"loss": "0.0 * fooled + 10 * close"},  # of no weight, and reached all the same
        {"loss": "F.relu(fooled - 1e3) + 10 * close"},  # satisfied for now
        {"held": "[*maker.parameters(), factor]", "loss": "fooled + 10 * close + factor.square().sum()"},
    ],
)
def test_terms_that_are_used(examined: Examined, change: dict[str, str]) -> None:
    assert reached(examined, **change)[1] == []
