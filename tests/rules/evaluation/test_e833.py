"""E833 on watched scripts that print means over batches: the last one smaller and unlike, like the rest, or weighed."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from forked import Seen
from traindx.evidence.observed_figures import BatchMeansSeen
from traindx.finding import Standing

SCRIPT = """
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(108, 4)
y = x[:, :1] + 0.3 * torch.randn(108, 1)
y[100:] += SHIFT
train = DataLoader(TensorDataset(x[:64], y[:64]), 16, shuffle=True)
valid = DataLoader(TensorDataset(x[36:], y[36:]), 16)
net = nn.Linear(4, 1)
optimizer = torch.optim.Adam(net.parameters(), 1e-2)


class Meter:
    def __init__(self):
        self.total = self.count = 0.0

    def update(self, value, count=1):
        self.total += float(value) * count
        self.count += count


@torch.no_grad()
def evaluate():
    net.eval()
    meter, values = Meter(), []
    for a, b in valid:
        loss = F.mse_loss(net(a), b)
        TAKE
    return RESULT


for epoch in range(6):
    net.train()
    for a, b in train:
        optimizer.zero_grad()
        F.mse_loss(net(a), b).backward()
        optimizer.step()
    print(f"epoch {epoch} val loss {evaluate():.4f}")
"""
Script = Callable[..., Seen]
METER = ("meter.update(loss)", "meter.total / meter.count")
WEIGHED = ("meter.update(loss, len(a))", "meter.total / meter.count")
LISTED = ("values.append(loss.item())", "sum(values) / len(values)")


def made(way: tuple[str, str], shift: float = 4.0) -> str:
    return SCRIPT.replace("SHIFT", str(shift)).replace("TAKE", way[0]).replace("RESULT", way[1])


@pytest.mark.parametrize("way", [METER, LISTED], ids=["meter", "list"])
def test_a_last_batch_that_is_unlike_the_others(way: tuple[str, str], script: Script) -> None:
    seen = script(made(way))
    (finding,) = seen.found("E833")
    assert finding.standing is Standing.SUSPECTED
    assert finding.location is not None
    assert finding.location.line == seen.line(way[0])
    assert (finding.numbers["last"], finding.numbers["size"]) == (8, 16)
    record = seen.one(BatchMeansSeen)
    for plain, weighted in zip(record.plain, record.weighted, strict=True):
        last = (5 * plain - 4.5 * weighted) / 0.5  # of four full batches and a half one, solved for the half one
        assert last > 2 * weighted


def test_batches_that_are_weighed_by_their_cases(script: Script) -> None:
    seen = script(made(WEIGHED))
    record = seen.one(BatchMeansSeen)
    assert (record.as_plain, record.as_weighted) == (0, len(record.plain))
    assert not seen.found("E833")


def test_a_last_batch_like_the_others(script: Script) -> None:
    seen = script(made(METER, shift=0.0))
    assert seen.one(BatchMeansSeen).as_plain > 1
    assert not seen.found("E833")


def test_batches_whose_sizes_are_no_remainder(script: Script) -> None:
    """One patient a batch: every one counts alike, as it should."""
    source = made(METER).replace(
        "valid = DataLoader(TensorDataset(x[36:], y[36:]), 16)",
        "parts = [(x[i:j], y[i:j]) for i, j in ((36, 52), (52, 62), (62, 78), (78, 100), (100, 108))]\n"
        "valid = DataLoader(parts, batch_size=None)",
    )
    assert not script(source).of(BatchMeansSeen)
