"""L337 in small training scripts of sequences: what the loss counts where they are padded."""

from __future__ import annotations

import pytest

from rules.watched.conftest import Examined
from traindx.finding import Finding

SCRIPT = """
import torch
from torch import nn
import torch.nn.functional as F

torch.manual_seed(0)
WORDS, LONGEST, PAD, EOS = 14, 16, 0, 1


def batch(rows=16):
    given = torch.full((rows, LONGEST), PAD)
    asked = torch.full((rows, LONGEST), LABEL)
    for row in range(rows):
        length = int(torch.randint(3, SPAN, ()))
        text = torch.randint(3, WORDS, (length,)).sort().values
        given[row, 0], given[row, 1:length + 1] = 2, text
        asked[row, :length], asked[row, length] = text, END
    return given, asked


class Writer(nn.Module):
    def __init__(self):
        super().__init__()
        self.embed = nn.Embedding(WORDS, 16)
        self.read = nn.GRU(16, 32, batch_first=True)
        self.head = nn.Linear(32, WORDS)

    def forward(self, tokens, labels=None):
        logits = self.head(self.read(self.embed(tokens))[0])
        return LOSS if labels is not None else logits


model = Writer()
optimizer = torch.optim.Adam(model.parameters(), 3e-3)
for step in range(24):
    tokens, labels = batch()
    CALL
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
"""
INSIDE = "loss = model(tokens, labels)"
AFTER = "logits = model(tokens); loss = F.cross_entropy(logits.flatten(0, 1), labels.flatten())"


def said(
    examined: Examined,
    *,
    label: str = "PAD",
    loss: str = "F.cross_entropy(logits.transpose(1, 2), labels)",
    call: str = AFTER,
    span: str = "10",
    end: str = "EOS",
) -> tuple[str, list[Finding]]:
    text = SCRIPT.replace("LABEL", label).replace("LOSS", loss).replace("CALL", call)
    text = text.replace("SPAN", span).replace("END", end)
    return text, [finding for finding in examined(text) if finding.code == "L337"]


@pytest.mark.parametrize("call", [AFTER, INSIDE])
def test_padding_counts(examined: Examined, call: str) -> None:
    text, (finding,) = said(examined, call=call)
    assert finding.location is not None
    assert "cross_entropy" in text.lstrip("\n").splitlines()[finding.location.line - 1]
    assert "ignore_index=0" in finding.remedy


def test_the_token_of_the_end_is_repeated(examined: Examined) -> None:
    _, (finding,) = said(examined, label="EOS")
    assert "end in 1" in finding.message


@pytest.mark.parametrize(
    "change",
    [
        {"label": "-100"},
        {"call": AFTER.replace("labels.flatten())", "labels.flatten(), ignore_index=PAD)")},
        {"call": AFTER.replace("labels.flatten())", "labels.flatten(), weight=(torch.arange(WORDS) > 0).float())")},
        {
            "call": "loss = (F.cross_entropy(model(tokens).transpose(1, 2), labels, reduction='none')"
            " * (labels != PAD)).sum() / (labels != PAD).sum()"
        },
        {"span": "LONGEST", "call": "tokens = torch.randint(3, WORDS, tokens.shape); " + AFTER},  # content to the end
        {"end": "PAD", "label": "-100"},  # one token ends a sequence
    ],
)
def test_padding_does_not_count(examined: Examined, change: dict[str, str]) -> None:
    assert said(examined, **change)[1] == []
