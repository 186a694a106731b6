"""Rules that need a running script: the fault at its line, a healthy run, and what looks like the fault and is none."""

from __future__ import annotations

import textwrap
from dataclasses import dataclass

import pytest

from rules.watched.conftest import Examined
from traindx.finding import Standing

HEAD = """
import torch
from torch import nn
import torch.nn.functional as F

torch.manual_seed(0)
generator = torch.Generator().manual_seed(1)
x = torch.randn(256, 12, generator=generator)
y = (x[:, :3].sum(1) > 0).long()
"""

LOOP = """
for epoch in range(4):
    for start in range(0, 256, 16):
        xb, yb = x[start:start + 16], y[start:start + 16]
        optimizer.zero_grad()
        loss = criterion(model(xb), yb)
        loss.backward()
        optimizer.step()
    print(epoch, loss.item())
"""

NET = "model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 2))\ncriterion = nn.CrossEntropyLoss()\n"
ADAM = "optimizer = torch.optim.Adam(model.parameters(), 3e-3)\n"


def clipped(limit: str, *, after: bool = False, mark: str = "") -> str:
    """The loop with its gradients clipped before the step, or after it."""
    clip, step = f"        nn.utils.clip_grad_norm_(model.parameters(), {limit}){mark}", "        optimizer.step()"
    return LOOP.replace(step, f"{step}\n{clip}" if after else f"{clip}\n{step}")


@dataclass(frozen=True)
class Triple:
    """Three scripts; the fault is at the line of ``faulty`` that ends in ``# HERE`` (anywhere in the file if none)."""

    code: str
    faulty: str
    healthy: str
    near_miss: str
    standing: Standing = Standing.DEMONSTRATED


VALIDATED = """
model = nn.Sequential(nn.Linear(12, 32), nn.BatchNorm1d(32), nn.ReLU(), nn.Dropout(0.3), nn.Linear(32, 2))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.Adam(model.parameters(), 3e-3)
xv, yv = torch.randn(64, 12, generator=generator), torch.zeros(64).long()
for epoch in range(4):
    {train}
    for start in range(0, 256, 16):
        optimizer.zero_grad()
        loss = criterion(model(x[start:start + 16]), y[start:start + 16])
        loss.backward()
        optimizer.step()
    model.eval()  # HERE
    with torch.no_grad():
        right = (model(xv).argmax(1) == yv).float().mean()
    {after}
    print(epoch, float(right))
"""

RESUME = """
model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 2))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
schedule = torch.optim.lr_scheduler.StepLR(optimizer, 40, 0.1)
for step in range(60):
    optimizer.zero_grad()
    criterion(model(x[:16]), y[:16]).backward()
    optimizer.step()
    schedule.step()
torch.save({{"model": model.state_dict(), "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(),
            "epoch": 3}}, "last.pt")
model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 2))
optimizer = torch.optim.SGD(model.parameters(), 0.1, momentum=0.9)
schedule = torch.optim.lr_scheduler.StepLR(optimizer, 40, 0.1)
state = torch.load("last.pt")  # HERE
model.load_state_dict(state["model"])
{restore}
"""

AMP = """
model = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 2))
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), 0.05)
scaler = torch.amp.GradScaler("cpu", init_scale={scale})
for epoch in range(4):
    for start in range(0, 256, 16):
        optimizer.zero_grad()
        loss = criterion(model(x[start:start + 16]), y[start:start + 16])
        scaler.scale(loss{spoil}).backward()
        {middle}
        scaler.step(optimizer)
        {update}
    print(epoch, loss.item())
"""

DEEP = """
def tower(act, width=24, depth=14):
    layers = []
    for number in range(depth):
        layers += [nn.Linear(12 if not number else width, width), act()]
    return nn.Sequential(*layers, nn.Linear(width, 2))

model = tower({act})
criterion = nn.CrossEntropyLoss()
optimizer = torch.optim.SGD(model.parameters(), 0.01)
"""

TRIPLES = (
    Triple(
        "C1103",
        VALIDATED.format(train="pass", after="pass"),
        VALIDATED.format(train="model.train()", after="pass"),
        # dropout left on in evaluation on purpose, batch norm off: Monte-Carlo dropout
        VALIDATED.format(train="model.train()", after="model[3].train()\n    model(xv)\n    model.train()"),
    ),
    Triple(
        "C1104",
        RESUME.format(restore='optimizer.load_state_dict(state["optimizer"])\nfor g in optimizer.param_groups:'
                      '\n    g["lr"] = 0.1') + LOOP,
        RESUME.format(restore='optimizer.load_state_dict(state["optimizer"])\n'
                      'schedule.load_state_dict(state["schedule"])')
        + LOOP.replace("    print", "    schedule.step()\n    print"),
        # a new training from somebody's weights: nothing but the weights is taken up, and the file counts no epochs
        RESUME.format(restore="").replace('            "epoch": 3', '            "note": 3') + LOOP,
    ),
    Triple(
        "L305",
        NET.replace("nn.Linear(32, 2))", "nn.Linear(32, 2), nn.Softmax(1))  # HERE") + ADAM + LOOP,
        NET + ADAM + LOOP,
        # log-softmax before cross-entropy is the identity
        NET.replace("nn.Linear(32, 2))", "nn.Linear(32, 2), nn.LogSoftmax(1))") + ADAM + LOOP,
    ),
    Triple(
        "L309",
        "x = x * 60 + 120\n" + NET + ADAM + LOOP,
        NET + ADAM + LOOP,
        # many classes start high, and rightly: log(C) is what a network says that knows nothing
        "y = torch.arange(256) % 200\n" + NET.replace("nn.Linear(32, 2)", "nn.Linear(32, 200)") + ADAM + LOOP,
        Standing.SUSPECTED,
    ),
    Triple(
        "O402",
        NET + "optimizer = torch.optim.Adam(model.parameters(), 1.5)  # HERE\n" + LOOP,
        NET + ADAM + LOOP,
        # large updates that work: the loss falls
        NET + "optimizer = torch.optim.SGD(model.parameters(), 0.8)\n" + LOOP,
    ),
    Triple(
        "O403",
        DEEP.format(act="nn.Sigmoid") + LOOP,
        DEEP.format(act="nn.ReLU") + LOOP,
        # the front end is frozen: it has no gradient to vanish
        DEEP.format(act="nn.Sigmoid").replace(
            "criterion =", "for p in list(model.parameters())[:-4]:\n    p.requires_grad_(False)\ncriterion =") + LOOP,
        Standing.SUSPECTED,
    ),
    Triple(
        "O404",
        "t = x[:, :1] * 400\nmodel = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 1))\n"
        "criterion = lambda out, yb: F.mse_loss(out, t[start:start + 16])\n"
        "optimizer = torch.optim.SGD(model.parameters(), 1e-9)\n" + LOOP,
        NET + ADAM + LOOP,
        # the same large gradients, clipped
        "t = x[:, :1] * 400\nmodel = nn.Sequential(nn.Linear(12, 32), nn.ReLU(), nn.Linear(32, 1))\n"
        "criterion = lambda out, yb: F.mse_loss(out, t[start:start + 16])\n"
        "optimizer = torch.optim.SGD(model.parameters(), 1e-3)\n"
        + clipped("50.0"),
        Standing.SUSPECTED,
    ),
    Triple(
        "O405",
        NET + "optimizer = torch.optim.SGD(model.parameters(), 0.1)\n"
        + clipped("1e-3", mark="  # HERE"),
        NET + "optimizer = torch.optim.SGD(model.parameters(), 0.1)\n"
        + clipped("5.0"),
        # Adam divides by the gradient's size and does not feel the limit
        NET + ADAM
        + clipped("1e-3"),
        Standing.SUSPECTED,
    ),
    Triple(
        "O408",
        NET + 'optimizer = torch.optim.SGD([{"params": model[0].parameters(), "lr": 1e-8},\n'
        '    {"params": model[2].parameters()}], 0.1)\n' + LOOP,
        NET + 'optimizer = torch.optim.SGD([{"params": model[0].parameters(), "lr": 0.02},\n'
        '    {"params": model[2].parameters()}], 0.1)\n' + LOOP,
        # thirty times slower, and still moving: a discriminative fine-tuning
        NET + 'optimizer = torch.optim.SGD([{"params": model[0].parameters(), "lr": 0.003},\n'
        '    {"params": model[2].parameters()}], 0.1)\n' + LOOP,
        Standing.SUSPECTED,
    ),
    Triple(
        "O409",
        AMP.format(scale="2.0**16", spoil=' * float("inf")', middle="pass", update="scaler.update()"),
        AMP.format(scale="2.0**10", spoil="", middle="pass", update="scaler.update()"),
        # the usual start: a scale that is too high is halved a few times
        AMP.format(scale="2.0**10", spoil=' * (float("inf") if epoch == 0 and start < 48 else 1.0)', middle="pass",
                   update="scaler.update()"),
    ),
    Triple(
        "O411",
        AMP.format(scale="2.0**10", spoil="", update="scaler.update()",
                   middle="nn.utils.clip_grad_norm_(model.parameters(), 1.0)  # HERE"),
        AMP.format(scale="2.0**10", spoil="", update="scaler.update()",
                   middle="scaler.unscale_(optimizer)\n        nn.utils.clip_grad_norm_(model.parameters(), 1.0)"),
        # a scale of one does no harm
        AMP.format(scale="1.0", spoil="", update="scaler.update()",
                   middle="nn.utils.clip_grad_norm_(model.parameters(), 1.0)"),
    ),
    Triple(
        "O413",
        NET + ADAM
        + clipped("1.0", after=True, mark="  # HERE"),
        NET + ADAM
        + clipped("1.0"),
        # clipped for the next step: the gradients of two passes are accumulated
        NET + ADAM + """
for epoch in range(4):
    for number, start in enumerate(range(0, 256, 16)):
        loss = criterion(model(x[start:start + 16]), y[start:start + 16])
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        if number % 2:
            optimizer.step()
            optimizer.zero_grad()
""",
    ),
    Triple(
        "T906",
        NET + ADAM + LOOP.replace(
            "        loss.backward()",
            "        loss = loss + torch.log((model(xb) * 0).sum())  # HERE\n        loss.backward()"),
        NET + ADAM + LOOP,
        # infinite values that no loss ever gets: a mask of attention
        NET + ADAM + LOOP.replace(
            "        loss.backward()",
            "        scores = torch.full((4, 4), float('-inf')).triu(1)\n"
            "        loss = loss + 0 * scores.softmax(-1).sum()\n        loss.backward()"),
    ),
)  # fmt: skip


def source(body: str) -> str:
    return textwrap.dedent(HEAD) + body.replace("  # HERE", "")


def place(body: str) -> int | None:
    lines = (textwrap.dedent(HEAD) + body).lstrip("\n").splitlines()
    return next((number for number, line in enumerate(lines, start=1) if "# HERE" in line), None)


@pytest.mark.parametrize("triple", TRIPLES, ids=lambda triple: triple.code)
def test_faulty(triple: Triple, examined: Examined) -> None:
    found = [finding for finding in examined(source(triple.faulty)) if finding.code == triple.code]
    assert found, "not found"
    assert found[0].standing is triple.standing
    line = place(triple.faulty)
    if line is not None:
        assert found[0].location is not None
        assert found[0].location.line == line


@pytest.mark.parametrize("triple", TRIPLES, ids=lambda triple: triple.code)
def test_healthy(triple: Triple, examined: Examined) -> None:
    above = [f for f in examined(source(triple.healthy)) if f.standing.rank > Standing.SUSPECTED.rank]
    assert above == []


@pytest.mark.parametrize("triple", TRIPLES, ids=lambda triple: triple.code)
def test_near_miss(triple: Triple, examined: Examined) -> None:
    assert [f.message for f in examined(source(triple.near_miss)) if f.code == triple.code] == []


def test_nobody_goes_on_with_a_teacher(examined: Examined) -> None:
    """Its checkpoint holds an epoch and an optimiser as well; what trains here is another network."""
    student = """
teacher = model.eval()
model = nn.Sequential(nn.Linear(12, 16), nn.ReLU(), nn.Linear(16, 2))
optimizer = torch.optim.SGD(model.parameters(), 0.02)
schedule = torch.optim.lr_scheduler.StepLR(optimizer, 40, 0.1)
"""
    loop = LOOP.replace("criterion(model(", "criterion(teacher(x[:2]) * 0 + model(x[:2]), y[:2]) + criterion(model(")
    source_text = RESUME.format(restore=student) + loop
    assert [finding.message for finding in examined(source(source_text)) if finding.code == "C1104"] == []


def test_a_layer_of_a_copied_network_was_made_where_it_was_written(examined: Examined) -> None:
    """As in federated training, where every client trains a copy."""
    text = NET.replace("nn.Linear(32, 2))", "nn.Linear(32, 2), nn.Softmax(1))  # HERE")
    text += "import copy\nmodel = copy.deepcopy(model)\n" + ADAM + LOOP
    (finding,) = [finding for finding in examined(source(text)) if finding.code == "L305"]
    assert finding.location is not None
    assert finding.location.line == place(text)
