"""D108 where every item of a second loader is a training item: a slip if it is to judge, a look if it is not."""

from __future__ import annotations

import pytest

from rules.watched.conftest import Examined
from traindx.finding import Standing

SCRIPT = """
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(160, 40)
y = (x[:, :3].sum(1) > 0).long()
order = torch.randperm(160)
cut = 128
train_loader = DataLoader(TensorDataset(x[order[:cut]], y[order[:cut]]), 32, shuffle=True)
MADE
net = nn.Sequential(nn.Linear(40, 16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.Adam(net.parameters(), 1e-3)


def judge(loader):
    net.eval()
    with torch.no_grad():
        right = sum((net(a).argmax(1) == b).sum().item() for a, b in loader)
    return right / len(loader.dataset)


for epoch in range(4):
    net.train()
    for a, b in train_loader:
        optimizer.zero_grad()
        nn.functional.cross_entropy(net(a), b).backward()
        optimizer.step()
    print(epoch, JUDGED)
"""
FIRST = "DataLoader(TensorDataset(x[order[:160 - cut]], y[order[:160 - cut]]), 32)"
REST = "DataLoader(TensorDataset(x[order[cut:]], y[order[cut:]]), 32)"


@pytest.mark.parametrize(
    ("made", "judged", "told"),
    [
        (f"val_loader = {FIRST}", "judge(val_loader)", True),
        (f"testing = {FIRST}", "judge(testing)", True),
        (f"val_loader = {REST}", "judge(val_loader)", False),
        (f"fitted = {FIRST}", "judge(fitted)", False),
        (f"train_eval_loader = {FIRST}", "judge(train_eval_loader)", False),
        (f"eval_loader = {FIRST}; held = {REST}", "judge(eval_loader), judge(held)", False),
    ],
)
def test_all_items_are_training_items(examined: Examined, made: str, judged: str, told: bool) -> None:
    found = [
        one
        for one in examined(SCRIPT.replace("MADE", made).replace("JUDGED", judged))
        if one.code == "D108" and one.standing is Standing.DEMONSTRATED
    ]
    assert len(found) == told
