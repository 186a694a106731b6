"""C1106 in a group of one process: the wrapper is called, is called around, or serves evaluation."""

from __future__ import annotations

import pytest

from rules.watched.conftest import Examined
from traindx.evidence.base import Evidence
from traindx.evidence.observed import WrapperBypassed
from traindx.finding import Location, Standing
from traindx.rules.state.c1106_wrapper_bypassed import wrapper_bypassed

SCRIPT = """
import os, tempfile
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

os.environ.setdefault("GLOO_SOCKET_IFNAME", "lo")
file = os.path.join(tempfile.mkdtemp(), "meet")
dist.init_process_group("gloo", init_method=f"file://{file}", rank=0, world_size=1)
torch.manual_seed(0)
net = DistributedDataParallel(nn.Linear(4, 1))
optimizer = torch.optim.SGD(net.parameters(), 0.1)
for step in range(12):
    x = torch.randn(16, 4)
    optimizer.zero_grad()
    (CALLED(x) - x[:, :1]).square().mean().backward()
    optimizer.step()
    with torch.no_grad():
        print(net.module(x).square().mean().item())
dist.destroy_process_group()
"""


@pytest.mark.parametrize(("called", "standings"), [("net.module", [Standing.SUSPECTED]), ("net", [])])
def test_a_group_of_one(examined: Examined, called: str, standings: list[Standing]) -> None:
    text = SCRIPT.replace("CALLED", called)
    found = [one for one in examined(text) if one.code == "C1106"]
    assert [one.standing for one in found] == standings
    lines = text.lstrip("\n").splitlines()
    assert all(one.location is not None and "net.module(x) -" in lines[one.location.line - 1] for one in found)


@pytest.mark.parametrize(("through", "past", "count"), [(0, 17, 1), (1, 17, 0), (0, 3, 0), (17, 0, 0)])
def test_several_ranks(through: int, past: int, count: int) -> None:
    evidence = Evidence()
    evidence.add(WrapperBypassed(through=through, past=past, ranks=4, where=Location(file="train.py", line=13)))
    found = wrapper_bypassed.check(evidence)
    assert len(found) == count
    assert all(one.standing is Standing.DEMONSTRATED and "4 ranks train 4 networks" in one.message for one in found)
