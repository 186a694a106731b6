"""M223 in small scripts: rates of dropout that are rates of keeping."""

from __future__ import annotations

import pytest

from rules.watched.conftest import Examined

SCRIPT = """
import torch
from torch import nn

torch.manual_seed(0)
keep_prob = 0.6
net = nn.Sequential(
    nn.Linear(8, 32),
    DROPOUT,
    nn.Linear(32, 1),
)
optimizer = torch.optim.Adam(net.parameters(), 1e-3)
for step in range(12):
    x = torch.randn(32, 8)
    optimizer.zero_grad()
    (net(x) - x[:, :1]).square().mean().backward()
    optimizer.step()
"""


@pytest.mark.parametrize(
    ("dropout", "said"),
    [
        ("nn.Dropout(0.85)", True),
        ("nn.Dropout1d(keep_prob)", True),
        ("nn.Dropout(1 - keep_prob)", False),
        ("nn.Dropout(1.0 - keep_prob / 2)", False),  # 0.7 on purpose
        ("nn.Dropout(0.6)", False),
        ("nn.Dropout(0.5)", False),
        ("nn.Dropout(1.0)", False),  # switched off by hand, or a network that M204 tells of
        ("nn.Dropout(0.9).eval()", False),
    ],
)
def test_rates(examined: Examined, dropout: str, said: bool) -> None:
    text = SCRIPT.replace("DROPOUT", dropout)
    found = [one for one in examined(text) if one.code == "M223"]
    assert len(found) == said
    lines = text.lstrip("\n").splitlines()
    assert all(one.location is not None and "Dropout" in lines[one.location.line - 1] for one in found)
