"""L338 in small training scripts: labels that are moved once, and twice."""

from __future__ import annotations

import pytest

from rules.watched.conftest import Examined
from traindx.finding import Finding, Standing

SCRIPT = """
from types import SimpleNamespace
import torch
from torch import nn
import torch.nn.functional as F

torch.manual_seed(0)
WORDS = 16


class Decoder(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(WORDS, 16)
        self.read = nn.GRU(16, 32, batch_first=True)
        self.head = nn.Linear(32, WORDS)
        self.second = nn.Linear(32, WORDS)

    def forward(self, tokens, labels=None, move=False):
        tokens = moved(tokens) if move else tokens
        states = self.read(self.embed(tokens))[0]
        logits = self.head(states)
        if labels is None:
            return logits, self.second(states)
        loss = LOSS
        return SimpleNamespace(loss=loss, logits=logits) if move else {"loss": loss, "logits": logits}


def moved(labels):
    return torch.cat([torch.zeros_like(labels[:, :1]), labels[:, :-1].clamp(min=0)], 1)


net = Decoder()
optimizer = torch.optim.Adam(net.parameters(), 3e-3)
for step in range(24):
    labels = torch.randint(1, WORDS, (16, 12)).cumsum(1) % (WORDS - 1) + 1
    CALL
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
INSIDE = 'loss = net(moved(labels), labels)["loss"]'
TWICE = "F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())"
ONCE = "F.cross_entropy(logits.flatten(0, 1), labels.flatten())"
BOTH = (
    "first, second = net(moved(labels)); loss = F.cross_entropy(first.flatten(0, 1), labels.flatten())"
    " + F.cross_entropy(second[:, :-1].flatten(0, 1), labels[:, 1:].flatten())"
)


def said(examined: Examined, loss: str, call: str) -> tuple[str, list[Finding]]:
    text = SCRIPT.replace("LOSS", loss).replace("CALL", call)
    return text, [one for one in examined(text) if one.code == "L338"]


@pytest.mark.parametrize(
    ("loss", "call"),
    [
        (TWICE, INSIDE),
        (ONCE, f"logits, _ = net(moved(labels)); loss = {TWICE}"),
        ("F.cross_entropy(logits[:, :-1].transpose(1, 2), labels[:, 1:])", INSIDE),
        (TWICE, "loss = net(labels, labels, move=True).loss"),  # the network moves them by itself
    ],
)
def test_labels_that_are_moved_twice(examined: Examined, loss: str, call: str) -> None:
    text, (finding,) = said(examined, loss, call)
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.location is not None
    assert "[:, :-1]" in text.lstrip("\n").splitlines()[finding.location.line - 1]


@pytest.mark.parametrize(
    ("loss", "call"),
    [
        (ONCE, INSIDE),
        (TWICE, 'loss = net(labels, labels)["loss"]'),  # moved in the loss alone
        ("F.cross_entropy(logits[:, 1:].flatten(0, 1), labels[:, 1:].flatten())", INSIDE),  # without the first one
        (ONCE, "loss = net(labels, labels, move=True).loss"),
        (ONCE, BOTH),  # a head for each of two tokens
    ],
)
def test_labels_that_are_moved_once(examined: Examined, loss: str, call: str) -> None:
    assert said(examined, loss, call)[1] == []
