"""Sequences by definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Define = Callable[..., Any]


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("torch.tril(torch.ones(n, n))", True),
        ("torch.triu(torch.ones(n, n), 1).bool()", True),
        ("torch.triu(torch.full((n, n), float('-inf')), 1)", True),
        ("np.triu(np.ones((1, n, n)), k=1).astype('uint8') == 0", True),
        ("torch.tril(torch.ones(n, n)).view(1, 1, n, n)", True),
        ("torch.triu(torch.ones(n, n))", False),
        ("torch.tril(torch.ones(n, n), -1)", False),
        ("torch.tril(torch.full((n, n), float('-inf')), -1)", False),
    ],
)
def test_causal_masks(define: Define, body: str, holds: bool) -> None:
    found = define(f"def causal_mask(n):\n    return {body}\n", "causal_mask(6)")
    assert found["causal-mask-shows-no-future"].holds is holds


def test_a_window_is_something_else(define: Define) -> None:
    source = "def causal_mask(n):\n    return torch.ones(n, n).tril().triu(-2)\n"
    assert not define(source, "causal_mask(6)")


ATTENTION = """
def attention(q, k, v, mask=None, dropout_p=0.1):
    scores = {} / q.shape[-1] ** 0.5
    weights = F.dropout({}, dropout_p)
    return weights @ v, weights
"""
FOUR = "(torch.randn(3, 2, 5, 8), torch.randn(3, 2, 7, 8), torch.randn(3, 2, 7, 8))"
THREE = "(torch.randn(3, 5, 8), torch.randn(3, 5, 8), torch.randn(3, 5, 8))"


@pytest.mark.parametrize(
    ("scores", "weights", "call", "broken"),
    [
        ("q @ k.transpose(-2, -1)", "scores.softmax(-1)", FOUR, None),
        ("q @ k.transpose(-2, -1)", "scores.softmax(-1)", THREE, None),
        ("q @ k.transpose(-2, -1)", "scores.softmax(-2)", FOUR, "attention-of-constant-values"),
        ("q @ k.transpose(-2, -1)", "scores.softmax(1)", THREE, "attention-of-constant-values"),
        ("q @ k.transpose(-2, -1)", "scores.sigmoid()", FOUR, "attention-of-constant-values"),
        ("q @ k.transpose(-2, -1)", "scores.softmax(0)", FOUR, "attention-keeps-samples-apart"),
    ],
)
def test_attention(define: Define, scores: str, weights: str, call: str, broken: str | None) -> None:
    found = define(ATTENTION.format(scores, weights), "attention" + call)
    wrong = {key for key, one in found.items() if not one.holds}
    assert "attention-of-constant-values" in found
    assert broken in wrong if broken else not wrong


PLACES = """
class PositionalEncoding(nn.Module):
    def __init__(self, d=16, n=64):
        super().__init__()
        t, i = torch.arange(n)[:, None], torch.arange(0, d, 2)
        angle = t / 10000 ** (i / d)
        code = torch.zeros(n, d)
        code[:, 0::2], code[:, 1::2] = {}
        self.register_buffer("code", code)

    def forward(self, x):
        return {}
"""
WAVES = "angle.sin(), angle.cos()"


@pytest.mark.parametrize(
    ("codes", "body", "holds"),
    [
        (WAVES, "x + self.code[: x.shape[1]]", True),
        (WAVES, "x + self.code[: x.shape[0]][:, None]", True),
        (WAVES, "self.code[: x.shape[1]][None]", True),
        (WAVES, "x + self.code[x.shape[1]]", False),
        (WAVES, "x + self.code[: x.shape[0] * x.shape[1]].view(x.shape)", False),
        ("torch.zeros(64, 8), torch.ones(64, 8)", "x + self.code[: x.shape[1]]", False),
    ],
)
def test_places(define: Define, codes: str, body: str, holds: bool) -> None:
    found = define(PLACES.format(codes, body), "PositionalEncoding()(torch.randn(3, 10, 16))")
    assert found["places-have-codes-of-their-own"].holds is holds


def test_places_that_are_learned_begin_anywhere(define: Define) -> None:
    source = "class PositionalEncoding(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    source += (
        "        self.p = nn.Parameter(torch.zeros(1, 10, 16))\n    def forward(self, x):\n        return x + self.p\n"
    )
    assert not define(source, "PositionalEncoding()(torch.randn(3, 10, 16))")


TIMES = """
def timestep_embedding(t, dim=32):
    freqs = (-math.log(10000) * torch.arange(dim // 2) / (dim // 2)).exp()
    args = {}
    return torch.cat([args.sin(), args.cos()], -1)
"""


@pytest.mark.parametrize(
    ("args", "holds"),
    [
        ("t[:, None].float() * freqs", True),
        ("t[:, None] // 1000 * freqs", False),
        ("(t / t.max())[:, None] * freqs", False),
        ("t[:, None].clamp(max=100) * freqs", False),
    ],
)
def test_times(define: Define, args: str, holds: bool) -> None:
    found = define(TIMES.format(args), "timestep_embedding(torch.tensor([3, 500, 999, 40]))")
    assert found["times-have-codes-of-their-own"].holds is holds


ROTARY = """
def rotate_half(x):
    a, b = x.chunk(2, -1)
    return torch.cat([{}b, a], -1)

def apply_rotary(x, cos, sin):
    return x * cos + rotate_half(x) * sin

def start():
    angle = torch.arange(10)[:, None] / 10000 ** (torch.arange(0, 16, 2) / 16)
    angle = {}
    return apply_rotary(torch.randn(2, 3, 10, 16), angle.cos(), angle.sin())
"""


@pytest.mark.parametrize(
    ("sign", "angle", "holds"),
    [
        ("-", "torch.cat([angle, angle], -1)", True),
        ("", "torch.cat([angle, angle], -1)", False),
        ("-", "angle.repeat_interleave(2, -1)", False),
    ],
)
def test_rotary(define: Define, sign: str, angle: str, holds: bool) -> None:
    assert define(ROTARY.format(sign, angle), "start()")["rotary-code-turns"].holds is holds


SINES = """
def sinusoidal_embedding(n, d):
    code, w = torch.zeros(n, d), torch.tensor([10000 ** (-j / d) for j in range(d)])[None]
    t = torch.arange(n)[:, None]
    code[:, ::2], code[:, 1::2] = (t * w[:, ::2]).sin(), (t * w[:, {}]).cos()
    return code
"""


@pytest.mark.parametrize(("which", "holds"), [("::2", True), ("1::2", False)])
def test_codes_of_one_length(define: Define, which: str, holds: bool) -> None:
    assert define(SINES.format(which), "sinusoidal_embedding(20, 16)")["codes-of-one-length"].holds is holds


@pytest.mark.parametrize(("body", "holds"), [("x[:, :-1]", True), ("x[:, 1:]", False)])
def test_shifts(define: Define, body: str, holds: bool) -> None:
    source = f"def shift_tokens_right(x):\n    return torch.cat([torch.zeros_like(x[:, :1]), {body}], 1)\n"
    found = define(source, "shift_tokens_right(torch.randint(3, 9, (2, 7)))")
    assert found["tokens-shifted-by-one"].holds is holds


def test_weights_of_both_signs_are_another_attention(define: Callable[..., Any]) -> None:
    source = """
    def attention(q, k, v):
        similar = q @ k.transpose(-2, -1)
        return (similar.abs().softmax(-1) * similar.sign()) @ v
    """
    call = "attention(*torch.randn(3, 2, 4, 6, 8))"
    assert "attention-of-constant-values" not in define(source, call)
    assert define(source.replace(" * similar.sign()", ""), call)["attention-of-constant-values"].holds
    over_queries = source.replace("softmax(-1) * similar.sign()", "softmax(-2)")
    assert not define(over_queries, call)["attention-of-constant-values"].holds
