"""Figures that leave their range: an accuracy of thirteen, a correlation of two."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from traindx.watch.probes.textbook import ranges


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """This file speaks of hundreds, and is no source of the scripts in it."""
    monkeypatch.setattr(ranges, "own_sources", dict)


Define = Callable[..., dict[str, Any]]
CALL = "accuracy(torch.ones(40), torch.ones(40), list(range(4)))"


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("return float((p == y).sum()) / len(batches)", False),
        ("return float((p == y).sum()) / len(y)", True),
    ],
)
def test_shares(define: Define, body: str, holds: bool) -> None:
    assert define(f"def accuracy(p, y, batches):\n    {body}", CALL)["share-within-its-range"].holds is holds


@pytest.mark.parametrize(
    "body",
    [
        "return float((p == y).sum())",  # a count
        "return 100.0 * float((p == y).sum()) / len(y)",
        "return float((p == y).sum().float().mul_(100.0 / len(y)) / 1.0)",
        "return 'percent', float((p == y).sum()) / len(batches)",
    ],
)
def test_counts_and_hundreds(define: Define, body: str) -> None:
    assert "share-within-its-range" not in define(f"def accuracy(p, y, batches):\n    {body}", CALL)


def test_what_is_learned_from_is_a_loss_that_may_be_a_sum(define: Define) -> None:
    source = "def dice(p, y):\n    return (1 - 2 * (p * y).sum((1, 2)) / (p + y).sum((1, 2))).sum()"
    call = "dice(torch.rand(9, 4, 4, requires_grad=True), torch.ones(9, 4, 4))"
    assert "share-within-its-range" not in define(source, call)


@pytest.mark.parametrize(("divisor", "holds"), [("(a.std() * b.std())", True), ("a.std()", False)])
def test_correlations(define: Define, divisor: str, holds: bool) -> None:
    source = f"def pearson(a, b):\n    return float(((a - a.mean()) * (b - b.mean())).mean() / {divisor})"
    call = "pearson(torch.arange(9.0), 3 * torch.arange(9.0))"
    assert define(source, call)["correlation-within-its-range"].holds is holds


def test_what_is_short_for_correct_is_a_count(define: Define) -> None:
    source = "def corr(a, b):\n    return (a == b).sum()"
    assert "correlation-within-its-range" not in define(source, "corr(torch.ones(9), torch.ones(9))")
