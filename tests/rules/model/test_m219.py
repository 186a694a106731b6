"""M219 on small decoders, watched."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from traindx.evidence.probed import FutureProbed
from watch.inside import found, watched

WORDS = 12


class Writer(nn.Module):
    def __init__(self, kind: str) -> None:
        super().__init__()
        self.kind = kind
        self.words = nn.Embedding(WORDS, 16)
        self.mix = nn.Conv1d(16, 16, 3) if kind.startswith("convolution") else nn.Linear(16, 16)
        self.out = nn.Linear(16, WORDS)

    def forward(self, tokens: Tensor) -> Tensor:
        h = self.words(tokens)
        if self.kind.startswith("convolution"):
            left = 2 if self.kind == "convolution of the past" else 1
            h = h + self.mix(F.pad(h.transpose(1, 2), (left, 2 - left))).transpose(1, 2)
        else:
            scores = self.mix(h) @ h.transpose(1, 2)
            if self.kind == "causal":
                hidden = torch.ones(scores.shape[-2:]).triu(1).bool()
                scores = scores.masked_fill(hidden, float("-inf"))
            h = h + scores.softmax(-1) @ h
        return self.out(h)


def loop(kind: str, target: str) -> None:
    torch.manual_seed(0)
    net = Writer(kind)
    optimizer = torch.optim.Adam(net.parameters(), 1e-2)
    for _ in range(4):
        text = torch.randint(0, WORDS, (4, 11))
        given = text[:, :-1] if target == "next" else text
        wanted = {"next": text[:, 1:], "same": text, "other": torch.randint(0, WORDS, text.shape)}[target]
        loss = F.cross_entropy(net(given).flatten(0, 1), wanted.flatten())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()


LINES = {
    "open": "h = h + scores.softmax(-1) @ h",
    "convolution": "h = h + self.mix(F.pad(h.transpose(1, 2), (left, 2 - left))).transpose(1, 2)",
}


@pytest.mark.parametrize("kind", list(LINES))
def test_a_decoder_that_sees_what_it_is_asked_for(kind: str, tmp_path: Path) -> None:
    (finding,) = found("M219", watched(lambda: loop(kind, "next"), tmp_path))
    assert finding.location is not None
    assert Path(__file__).read_text().splitlines()[finding.location.line - 1].strip() == LINES[kind]


@pytest.mark.parametrize("kind", ["causal", "convolution of the past"])
def test_a_decoder_that_does_not(kind: str, tmp_path: Path) -> None:
    evidence = watched(lambda: loop(kind, "next"), tmp_path)
    assert evidence.of(FutureProbed)
    assert not found("M219", evidence)


@pytest.mark.parametrize("target", ["same", "other"])
def test_labels_of_each_position_may_depend_on_all(target: str, tmp_path: Path) -> None:
    assert not watched(lambda: loop("open", target), tmp_path).of(FutureProbed)
