"""What scores hide against what is padding: in the right place, turned round, over the wrong axis, of other samples."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from traindx.finding import Standing
from traindx.watch.contracts.attention import (
    INVERTED,
    OTHERS,
    QUERIES,
    hidden_by_mask,
    hidden_by_scores,
    judged,
    padding_of,
)
from traindx.watch.contracts.base import IN_ORDER, Broken
from watch.inside import found, watched

LENGTHS = torch.tensor([7, 4, 6, 3])
PADDING = torch.arange(7)[None] >= LENGTHS[:, None]
TOKENS = torch.where(PADDING, 0, torch.arange(1, 29).reshape(4, 7))
SCORES = torch.randn(4, 2, 7, 7, generator=torch.Generator().manual_seed(0))
KEYS, ROWS = PADDING[:, None, None, :], PADDING[:, None, :, None]
CAUSAL = torch.ones(7, 7, dtype=torch.bool).triu(1)


def test_where_sequences_are_padded() -> None:
    assert torch.equal(padding_of(torch, TOKENS), PADDING)
    assert torch.equal(padding_of(torch, TOKENS.flip(1)), PADDING.flip(1))
    features = torch.where(PADDING[..., None], 0.0, torch.randn(4, 7, 3))
    assert torch.equal(padding_of(torch, features), PADDING)
    assert padding_of(torch, torch.arange(28).reshape(4, 7)) is None
    assert padding_of(torch, torch.arange(4)) is None


@pytest.mark.parametrize("value", [float("-inf"), -1e9, -1e4])
@pytest.mark.parametrize(
    ("where", "contract"),
    [
        (KEYS, ""),
        (KEYS | CAUSAL, ""),
        (KEYS | ROWS, ""),
        (~KEYS | CAUSAL, "nothing"),  # turned round in a decoder, where padding comes last
        (~KEYS, INVERTED),
        (ROWS.expand(4, 1, 7, 7), QUERIES),
        (CAUSAL.expand(4, 1, 7, 7), ""),  # padding comes last
        (torch.zeros(4, 1, 7, 7, dtype=torch.bool), "nothing"),
    ],
)
def test_scores(where: Tensor, contract: str, value: float) -> None:
    said = judged(torch, hidden_by_scores(SCORES.masked_fill(where, value), -1), PADDING)
    if contract == "nothing":
        assert not said
    elif contract:
        assert [key for key, one in said.items() if isinstance(one, Broken)] == [contract]
    else:
        assert set(said.values()) == {IN_ORDER}


def test_masks_that_are_added_to_scores() -> None:
    for where, broken in ((KEYS, False), (~KEYS, True)):
        said = judged(torch, hidden_by_scores(SCORES + 5 + where * -10000.0, -1), PADDING)
        assert isinstance(said[INVERTED], Broken) is broken
    assert not judged(torch, hidden_by_scores(SCORES + KEYS * -100.0, -1), PADDING)


def test_scores_of_heads_in_a_row() -> None:
    flat = torch.randn(8, 7, 7)
    right, wrong = (
        judged(torch, hidden_by_scores(flat.masked_fill(mask[:, None, :], -1e9), 2), PADDING)
        for mask in (PADDING.repeat_interleave(2, 0), PADDING.repeat(2, 1))
    )
    assert set(right.values()) == {IN_ORDER}
    assert list(wrong) == [OTHERS]


def test_pooling_and_a_step_before_the_sequence() -> None:
    weights = torch.randn(4, 7)
    assert isinstance(
        judged(torch, hidden_by_scores(weights.masked_fill(~PADDING, -1e9), 1), PADDING)[INVERTED], Broken
    )
    assert judged(torch, hidden_by_scores(weights.masked_fill(PADDING, -1e9), 1), PADDING)[INVERTED] == IN_ORDER
    column = weights.masked_fill(~PADDING, -1e9)[..., None]
    assert isinstance(judged(torch, hidden_by_scores(column, 1), PADDING)[INVERTED], Broken)
    longer = F.pad(PADDING, (1, 0))
    scores = torch.randn(4, 2, 8, 8).masked_fill(longer[:, None, None], -1e9)
    assert judged(torch, hidden_by_scores(scores, -1), PADDING)[INVERTED] == IN_ORDER
    assert not judged(torch, hidden_by_scores(torch.randn(4, 5), 1), PADDING)


@pytest.mark.parametrize(
    ("mask", "contract"),
    [
        (~KEYS, ""),
        (KEYS, INVERTED),
        (torch.zeros(4, 1, 1, 7).masked_fill(KEYS, float("-inf")), ""),
        (~ROWS, QUERIES),
        (torch.randn(4, 1, 1, 7), "nothing"),
        (torch.ones(7, 7, dtype=torch.bool), "nothing"),
    ],
)
def test_masks_that_are_given(mask: Tensor, contract: str) -> None:
    said = judged(torch, hidden_by_mask(torch, mask, 7, 7), PADDING)
    broken = [key for key, one in said.items() if isinstance(one, Broken)]
    assert broken == ([] if contract in ("", "nothing") else [contract])
    assert bool(said) is (contract != "nothing")


class Reader(nn.Module):
    def __init__(self, turned: bool) -> None:
        super().__init__()
        self.embed, self.ask, self.out = nn.Embedding(30, 8), nn.Linear(8, 1), nn.Linear(8, 2)
        self.turned = turned

    def forward(self, tokens: Tensor) -> Tensor:
        words = self.embed(tokens)
        scores = self.ask(words)[..., 0]
        scores = scores.masked_fill((tokens == 0) != self.turned, -1e9)
        return self.out((scores.softmax(1)[..., None] * words).sum(1))


@pytest.mark.parametrize("turned", [True, False])
def test_a_watched_program(turned: bool, tmp_path: Path) -> None:
    def script() -> None:
        torch.manual_seed(0)
        net = Reader(turned)
        optimizer = torch.optim.Adam(net.parameters(), 1e-3)
        for _ in range(6):
            optimizer.zero_grad()
            F.cross_entropy(net(TOKENS), torch.tensor([0, 1, 0, 1])).backward()
            optimizer.step()

    findings = [one for one in found("C1115", watched(script, tmp_path)) if one.variant == INVERTED]
    assert len(findings) == turned
    for one in findings:
        assert one.standing is Standing.DEMONSTRATED
        assert one.location is not None
        assert "masked_fill" in Path(__file__).read_text().splitlines()[one.location.line - 1]


class Encoder(nn.Module):
    """Dropout makes padding differ between samples, so that only the tokens tell what is padding."""

    def __init__(self, turned: bool) -> None:
        super().__init__()
        self.embed, self.drop, self.out = nn.Embedding(30, 8), nn.Dropout(0.2), nn.Linear(8, 2)
        self.layer = nn.TransformerEncoderLayer(8, 2, 16, batch_first=True)
        self.turned = turned

    def forward(self, tokens: Tensor) -> Tensor:
        padding = (tokens == 0) != self.turned
        return self.out(self.layer(self.drop(self.embed(tokens)), src_key_padding_mask=padding).mean(1))


@pytest.mark.parametrize("turned", [True, False])
def test_a_layer_of_torch(turned: bool, tmp_path: Path) -> None:
    def script() -> None:
        torch.manual_seed(0)
        net = Encoder(turned)
        optimizer = torch.optim.Adam(net.parameters(), 1e-3)
        for _ in range(6):
            optimizer.zero_grad()
            F.cross_entropy(net(tokens=TOKENS), torch.tensor([0, 1, 0, 1])).backward()
            optimizer.step()

    findings = found("C1115", watched(script, tmp_path))
    assert [one.variant for one in findings] == ["padding-mask-inverted"] * turned
