"""C1103 where a validation switches back to training mode, and O408 where one line makes several optimisers."""

from __future__ import annotations

import pytest

from rules.watched.conftest import Examined

SCRIPT = """
import torch
from torch import nn

torch.manual_seed(0)
net = nn.Sequential(nn.Linear(6, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Dropout(0.4), nn.Linear(16, 2))
optimizer = torch.optim.Adam(net.parameters(), 1e-3)
x = torch.randn(256, 6)
y = (x[:, 0] > 0).long()


def validate():
    FIRST
    with torch.no_grad():
        SECOND
        return nn.functional.cross_entropy(net(x[192:]), y[192:]).item()


for epoch in range(6):
    net.train()
    for start in range(0, 192, 32):
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(x[start:start + 32]), y[start:start + 32]).backward()
        optimizer.step()
    print(epoch, validate())
"""


@pytest.mark.parametrize(
    ("first", "second", "line"),
    [
        ("net.eval()", "net.train()", "        net.train()"),
        ("pass", "pass", "net(x[192:])"),
        ("net.train()", "net.eval()", None),
    ],
)
def test_the_place_of_the_mode(examined: Examined, first: str, second: str, line: str | None) -> None:
    text = SCRIPT.replace("FIRST", first).replace("SECOND", second)
    found = [one for one in examined(text) if one.code == "C1103"]
    lines = text.lstrip("\n").splitlines()
    assert len(found) == (line is not None)
    assert all(one.location is not None and str(line) in lines[one.location.line - 1] for one in found)


FOLDS = """
import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(256, 6)


def train(steps):
    net = nn.Linear(6, 1)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for step in range(STEPS):
        optimizer.zero_grad()
        (net(x) - x[:, :1]).square().mean().backward()
        optimizer.step()
        schedule.step()


for fold in range(2):
    train(20)
"""


@pytest.mark.parametrize("steps", ["20", "20 if fold == 0 else 12"])
def test_optimisers_of_one_line_have_no_groups_in_common(examined: Examined, steps: str) -> None:
    """The rate of the first fold has run out while that of the second has not."""
    assert [one for one in examined(FOLDS.replace("STEPS", steps)) if one.code == "O408"] == []
