"""C1115 in small scripts: weights of classes, from right and from wrong formulas, and the line that computes them."""

from __future__ import annotations

import pytest

from rules.watched.conftest import Examined
from traindx.finding import Finding, Standing

SCRIPT = """
import torch
from torch import nn

torch.manual_seed(0)
shares = torch.tensor(SHARES)
y = torch.multinomial(shares, 640, replacement=True)
x = torch.randn(640, 6) + y[:, None]


def penalties(labels):
    counts = torch.bincount(labels, minlength=len(shares)).float()
    weight = FORMULA
    return weight


net = nn.Sequential(nn.Linear(6, 16), nn.ReLU(), nn.Linear(16, len(shares)))
optimizer = torch.optim.Adam(net.parameters(), 1e-3)
criterion = nn.CrossEntropyLoss(weight=penalties(y))
for step in range(20):
    rows = torch.arange(32) + 32 * step
    optimizer.zero_grad()
    criterion(net(x[rows]), y[rows]).backward()
    optimizer.step()
"""
BINARY = """
import torch
from torch import nn

torch.manual_seed(0)
y = (torch.rand(640, 1) < 0.15).float()
x = torch.randn(640, 6) + y
net = nn.Linear(6, 1)
optimizer = torch.optim.Adam(net.parameters(), 1e-2)
pos_weight = FORMULA
for step in range(20):
    rows = torch.arange(32) + 32 * step
    optimizer.zero_grad()
    nn.functional.binary_cross_entropy_with_logits(net(x[rows]), y[rows], pos_weight=pos_weight).backward()
    optimizer.step()
"""


def told(examined: Examined, text: str) -> tuple[list[str], list[Finding]]:
    return text.lstrip("\n").splitlines(), [one for one in examined(text) if one.code == "C1115"]


@pytest.mark.parametrize(
    ("shares", "formula", "standing"),
    [
        ("[0.7, 0.2, 0.1]", "counts / counts.sum()", Standing.SUSPECTED),
        ("[0.7, 0.2, 0.1]", "counts / counts.max()", Standing.SUSPECTED),
        ("[0.6, 0.3, 0.1]", "torch.tensor([1.0, 0.2, 0.3])", None),  # by what a mistake costs
        ("[0.7, 0.2, 0.1]", "counts.sum() / (3 * counts)", None),
        ("[0.7, 0.2, 0.1]", "1 - counts / counts.sum()", None),
        ("[0.7, 0.2, 0.1]", "torch.tensor([1.0, 1.0, 0.0])", None),  # a class is left out
        ("[0.4, 0.3, 0.3]", "counts / counts.sum()", None),  # none is rare
        ("[0.7, 0.2, 0.1]", "torch.ones(3)", None),
    ],
)
def test_weights(examined: Examined, shares: str, formula: str, standing: Standing | None) -> None:
    lines, found = told(examined, SCRIPT.replace("SHARES", shares).replace("FORMULA", formula))
    assert [one.standing for one in found] == ([standing] if standing else [])
    assert all(one.location is not None and formula in lines[one.location.line - 1] for one in found)


@pytest.mark.parametrize(
    ("formula", "told_of"), [("y.sum() / (1 - y).sum()", True), ("(1 - y).sum() / y.sum()", False), ("None", False)]
)
def test_the_weight_of_positives(examined: Examined, formula: str, told_of: bool) -> None:
    lines, found = told(examined, BINARY.replace("FORMULA", formula))
    assert [one.standing for one in found] == ([Standing.SUSPECTED] if told_of else [])
    assert all(one.location is not None and "pos_weight = " in lines[one.location.line - 1] for one in found)
