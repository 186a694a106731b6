"""C1110 in scripts of their own: the best weights kept by reference, as a copy, and put aside for an average."""

from __future__ import annotations

from rules.watched.conftest import Examined
from traindx.finding import Standing

SCRIPT = """
import copy
import torch
from torch import nn

torch.manual_seed(0)
x = torch.randn(128, 12)
y = (x[:, :3].sum(1) > 0).long()
model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 2))
optimizer = torch.optim.Adam(model.parameters(), 3e-3)
lowest, best = 1e9, None
for epoch in range(6):
    model.train()
    for start in range(0, 96, 16):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x[start:start + 16]), y[start:start + 16]).backward()
        optimizer.step()
    model.eval()
    with torch.no_grad():
        val = nn.functional.cross_entropy(model(x[96:]), y[96:]).item()
    if val < lowest and epoch < 4:
        lowest, best = val, KEEP
    print(epoch, val)
RESTORE
"""


def script(keep: str, restore: str = "model.load_state_dict(best)") -> str:
    return SCRIPT.replace("KEEP", keep).replace("RESTORE", restore)


def test_faulty(examined: Examined) -> None:
    text = script("model.state_dict()")
    found = [finding for finding in examined(text) if finding.code == "C1110"]
    assert [finding.standing for finding in found] == [Standing.DEMONSTRATED]
    assert found[0].location is not None
    assert "model.state_dict()" in text.lstrip("\n").splitlines()[found[0].location.line - 1]


def test_healthy(examined: Examined) -> None:
    found = examined(script("copy.deepcopy(model.state_dict())"))
    assert [f.message for f in found if f.standing.rank > Standing.SUSPECTED.rank] == []


def test_near_miss(examined: Examined) -> None:
    """An average takes the weights' place and gives it back from clones; loading at once what was just taken."""
    swap = (
        "own = {k: v.clone() for k, v in model.state_dict().items()}\n"
        "model.load_state_dict({k: v * 0.9 for k, v in own.items()})\n"
        "model.load_state_dict(own)\n"
        "model.load_state_dict(model.state_dict())"
    )
    assert [f.message for f in examined(script("copy.deepcopy(model.state_dict())", swap)) if f.code == "C1110"] == []
