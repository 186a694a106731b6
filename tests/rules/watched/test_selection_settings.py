"""E815 where an object names the figure to select by, and the direction that acts is another one than the figure's."""

from __future__ import annotations

import pytest

from rules.watched.conftest import Examined

SCRIPT = """
import torch
from dataclasses import dataclass
from torch import nn


@dataclass
class Arguments:
    metric_for_best_model: str = "FIGURE"
    greater_is_better: bool | None = None

    def __post_init__(self):
        if self.greater_is_better is None:
            self.greater_is_better = DIRECTION


class Trainer:
    def __init__(self, args):
        self.args = args
        self.callbacks = [{"monitor": "MONITOR", "mode": "MODE", "patience": 3}]


torch.manual_seed(0)
trainer = Trainer(Arguments())
model = nn.Linear(4, 1)
optimizer = torch.optim.SGD(model.parameters(), 0.1)
x = torch.randn(64, 4)
for step in range(12):
    optimizer.zero_grad()
    (model(x) - x[:, :1]).square().mean().backward()
    optimizer.step()
"""


@pytest.mark.parametrize(
    ("figure", "direction", "monitor", "mode", "named"),
    [
        ("eval_south_loss", "self.metric_for_best_model != 'eval_loss'", "val_dice", "max", ["greater_is_better"]),
        ("eval_accuracy", "False", "val_dice", "max", ["greater_is_better"]),
        ("eval_loss", "False", "val_dice", "min", ["mode"]),
        ("eval_loss", "False", "val_dice", "max", []),
        ("eval_score", "False", "neg_loss", "max", []),  # names that do not say it, or turned round
        ("dice_loss", "False", "kappa", "max", []),
    ],
)
def test_directions(examined: Examined, figure: str, direction: str, monitor: str, mode: str, named: list[str]) -> None:
    text = SCRIPT.replace("FIGURE", figure).replace("DIRECTION", direction)
    text = text.replace("MONITOR", monitor).replace("MODE", mode)
    found = [one for one in examined(text) if one.code == "E815"]
    lines = text.lstrip("\n").splitlines()
    assert [any(key in lines[one.location.line - 1] for key in named) for one in found if one.location] == [
        True for _ in named
    ]
