"""O421 on watched scripts that pass several batches back before a step: sums, means, and what looks like either."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from forked import Seen
from traindx.evidence.observed_optim import AccumulationSeen
from traindx.finding import Standing

TORCH = """
import torch
import torch.nn.functional as F
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

torch.manual_seed(0)
x = torch.randn(320, 6)
y = x[:, :3].argmax(1)
"""
SCRIPT = (
    TORCH
    + """
accumulate, rate = 4, 0.05
net = nn.Sequential(nn.Linear(6, 8), nn.ReLU(), nn.Linear(8, 3))
optimizer = OPTIMISER
loader = DataLoader(TensorDataset(x, y), 8, shuffle=True)
SETUP
for epoch in range(2):
    total = 0.0
    for i, (a, b) in enumerate(loader, 1):
        loss = LOSS
        total += loss.item() / accumulate
        BACKWARD
        if i % accumulate == 0:
            BEFORE
            optimizer.step()
            optimizer.zero_grad()
    print(epoch, total / 10)
"""
)
PLAIN = {
    "OPTIMISER": "torch.optim.SGD(net.parameters(), rate, momentum=0.9)",
    "SETUP": "",
    "LOSS": "F.cross_entropy(net(a), b)",
    "BACKWARD": "loss.backward()",
    "BEFORE": "pass",
}
Script = Callable[..., Seen]


def made(**changes: str) -> str:
    source = SCRIPT
    for name, text in {**PLAIN, **changes}.items():
        source = source.replace(name, text)
    return source


def test_the_sum_over_four_batches_is_found_where_it_is_made(script: Script) -> None:
    seen = script(made())
    (finding,) = seen.found("O421")
    assert finding.standing is Standing.SUSPECTED
    assert finding.location is not None
    assert finding.location.line == seen.line("loss.backward()")
    assert finding.numbers["batches"] == 4
    assert finding.numbers["acts_as"] == pytest.approx(0.2)
    assert "(accumulate)" in finding.message
    record = seen.one(AccumulationSeen)
    assert record.steps == record.usual == record.apart == record.read == record.kept == record.means > 5


@pytest.mark.parametrize(
    "changes",
    [
        {
            "BACKWARD": "scaler.scale(loss).backward()",
            "SETUP": "scaler = torch.amp.GradScaler('cpu')",
            "BEFORE": "scaler.unscale_(optimizer)\n            scaler.update()",
        },
        {"LOSS": "0.7 * F.cross_entropy(net(a), b) + 0.3 * F.mse_loss(net(a), F.one_hot(b, 3).float())"},
        {"LOSS": "1 - (net(a).softmax(1) * F.one_hot(b, 3)).sum() / (net(a).softmax(1).square().sum() + 8)"},
        {"BACKWARD": "scaled = loss / accumulate\n        loss.backward()"},
    ],
    ids=["scaled for half precision", "terms that add up to one", "ratio of sums", "divided and not used"],
)
def test_other_ways_to_add_up(changes: dict[str, str], script: Script) -> None:
    assert len(script(made(**changes)).found("O421")) == 1


@pytest.mark.parametrize(
    "changes",
    [
        {"LOSS": "F.cross_entropy(net(a), b) / accumulate"},
        {"LOSS": "2 * F.cross_entropy(net(a), b) / accumulate"},
        {"LOSS": "F.cross_entropy(net(a), b) * (len(a) / 32)"},
        {"LOSS": "F.cross_entropy(net(a), b, reduction='sum') / 32"},
        {"LOSS": "F.cross_entropy(net(a), b) * len(a)"},
        {"BACKWARD": "loss.backward(torch.tensor(0.25))"},
        {"BEFORE": "[p.grad.div_(accumulate) for p in net.parameters()]"},
        {"BEFORE": "nn.utils.clip_grad_norm_(net.parameters(), 1e-2)"},
        {"SETUP": "for p in net.parameters(): p.register_hook(lambda g: g * 0.25)"},
        {"SETUP": "optimizer.register_step_pre_hook(lambda o, *_: None)"},
        {"OPTIMISER": "torch.optim.Adam(net.parameters(), 0.3)"},
        {"OPTIMISER": "torch.optim.SGD(net.parameters(), 0.01, momentum=0.9)"},
        {"OPTIMISER": "torch.optim.SGD(net.parameters(), 4 * rate / accumulate, momentum=0.9)"},
        {"OPTIMISER": "torch.optim.SGD(net.parameters(), lr=0.2 / 4, momentum=0.9)"},
    ],
    ids=[
        "divided", "twice and divided", "share of the samples", "sum over all samples", "times the samples", "seed",
        "gradients divided", "always clipped", "hooks", "hook of the step", "Adam", "usual rate", "rate divided",
        "rate divided by a number",
    ],
)  # fmt: skip
def test_means_and_rates_for_sums(changes: dict[str, str], script: Script) -> None:
    seen = script(made(**changes))
    assert seen.one(AccumulationSeen).steps > 5
    assert not seen.found("O421")


TASKS = """
net = nn.Linear(6, 3)
optimizer = torch.optim.SGD(net.parameters(), 0.3)
tasks = [(x[i : i + 32], y[i : i + 32]) for i in range(0, 320, 32)]
for step in range(12):
    optimizer.zero_grad()
    for a, b in tasks[:PASSES]:
        F.cross_entropy(net(a), b).backward()
    optimizer.step()
"""
HEADS = """
accumulate = 4
net = nn.ModuleList(nn.Linear(6, 3) for _ in range(4))
optimizer = torch.optim.SGD(net.parameters(), 1.0)
for step in range(12):
    a, b = x[step : step + 32], y[step : step + 32]
    optimizer.zero_grad()
    for index in range(accumulate):
        F.cross_entropy(net[index](a), b).backward()
    optimizer.step()
"""
WAITS = """
net = nn.Linear(6, 3)
optimizer = torch.optim.SGD(net.parameters(), 1.0)
loader = DataLoader(TensorDataset(x, y), 8)
for epoch in range(2):
    for step, (a, b) in enumerate(loader):
        F.cross_entropy(net(a), b).backward()
        if (step + 1) % 5 == 0:
            optimizer.step()
            optimizer.zero_grad()
"""


def test_tasks_whose_losses_add_up_by_definition(script: Script) -> None:
    """The sum over tasks is the objective of meta-learning, and nothing is called an accumulation."""
    seen = script(TORCH + TASKS.replace("PASSES", "5"))
    assert seen.one(AccumulationSeen).passes == 5
    assert not seen.found("O421")


def test_heads_of_one_batch(script: Script) -> None:
    seen = script(TORCH + HEADS)
    assert seen.one(AccumulationSeen).apart == 0
    assert not seen.found("O421")


def test_a_step_that_waits_for_batches_of_a_loader(script: Script) -> None:
    seen = script(TORCH + WAITS)
    (finding,) = seen.found("O421")
    assert finding.location is not None
    assert finding.location.line == seen.line(".backward()")
    assert finding.numbers["batches"] == 5


def test_an_optimiser_that_is_gone_before_the_run_ends(script: Script) -> None:
    """What kind it was is known from its steps."""
    source = WAITS.replace("torch.optim.SGD", "torch.optim.AdamW") + "del optimizer\n"
    seen = script(TORCH + source)
    assert not seen.one(AccumulationSeen).scales
    assert not seen.found("O421")


def test_one_backward_pass_a_step_is_no_accumulation(script: Script) -> None:
    assert not script(TORCH + TASKS.replace("PASSES", "1")).of(AccumulationSeen)
