"""Figures by definition: calibration, ranks, agreement, distances of sequences, doses and neighbours."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Define = Callable[..., Any]
CHANCES = "(torch.rand(64, 3).softmax(1), torch.randint(0, 3, (64,)))"
ECE = """
def ece(probs, labels, bins=10):
    conf, pred = probs.max(1)
    hit = (pred == labels).float()
    total = 0.0
    for i in range(bins):
        inside = (conf > i / bins) & (conf <= (i + 1) / bins)
        if inside.any():
            total += {}
    return float(total)
"""


@pytest.mark.parametrize(
    ("term", "holds"),
    [
        ("inside.float().mean() * (hit[inside].mean() - conf[inside].mean()).abs()", True),
        ("100 * inside.float().mean() * (hit[inside].mean() - conf[inside].mean()).abs()", True),
        ("(hit[inside].mean() - conf[inside].mean()).abs() / bins", False),
        ("inside.float().mean() * (hit.mean() - (i + 1) / bins)", False),
    ],
)
def test_calibration(define: Define, term: str, holds: bool) -> None:
    assert define(ECE.format(term), "ece" + CHANCES)["calibration-error-of-known-confidence"].holds is holds


@pytest.mark.parametrize(
    ("body", "call", "holds"),
    [
        ("((p - y) ** 2).mean()", "(torch.rand(64), torch.randint(0, 2, (64,)))", True),
        ("((p - F.one_hot(y, 3)) ** 2).sum(1).mean()", CHANCES, True),
        ("(p - y).abs().mean()", "(torch.rand(64), torch.randint(0, 2, (64,)))", False),
        ("((p - (1 - y)) ** 2).mean()", "(torch.rand(64), torch.randint(0, 2, (64,)))", False),
    ],
)
def test_brier(define: Define, body: str, call: str, holds: bool) -> None:
    assert (
        define(f"def brier_score(p, y):\n    return {body}\n", "brier_score" + call)["brier-score-is-squared"].holds
        is holds
    )


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("scores.topk(k).indices.eq(y[:, None]).any(1).float().mean()", True),
        ("scores.topk(k, largest=False).indices.eq(y[:, None]).any(1).float().mean()", False),
        ("scores.topk(k - 1).indices.eq(y[:, None]).any(1).float().mean()", False),
        ("scores.topk(k + 1).indices.eq(y[:, None]).any(1).float().mean()", False),
    ],
)
def test_ranks(define: Define, body: str, holds: bool) -> None:
    call = "topk_accuracy(torch.randn(16, 10), torch.randint(0, 10, (16,)))"
    found = define(f"def topk_accuracy(scores, y, k=3):\n    return {body}\n", call)
    assert found["top-k-counts-the-first-k"].holds is holds


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("1 - ((pred - target) ** 2).sum() / ((target - target.mean()) ** 2).sum()", True),
        ("1 - ((pred - target) ** 2).sum() / ((pred - pred.mean()) ** 2).sum()", False),
        ("((pred - target) ** 2).sum() / ((target - target.mean()) ** 2).sum()", False),
    ],
)
def test_determination(define: Define, body: str, holds: bool) -> None:
    found = define(f"def r2_score(target, pred):\n    return {body}\n", "r2_score(torch.randn(40), torch.randn(40))")
    record = found.get("determination-of-known-errors")
    assert record is None or record.holds is holds
    assert record is not None or not holds  # not finite for the mean


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("torch.corrcoef(torch.stack([a, b]))[0, 1]", True),
        ("((a - a.mean()) * (b - b.mean())).sum() / ((a - a.mean()).norm() * (b - b.mean()).norm())", True),
        ("(a * b).sum() / (a.norm() * b.norm())", False),
        ("((a - a.mean()) * (b - b.mean())).mean() / (a.var() * b.var())", False),
    ],
)
def test_correlation(define: Define, body: str, holds: bool) -> None:
    found = define(f"def pearson(a, b):\n    return {body}\n", "pearson(torch.randn(40), torch.randn(40))")
    assert found["correlation-of-known-lines"].holds is holds


EDIT = """
def edit_distance(a, b):
    d = [[{start} for j in range(len(b) + 1)] for i in range(len(a) + 1)]
    for i in range(1, len(a) + 1):
        for j in range(1, len(b) + 1):
            d[i][j] = min(d[i - 1][j] + 1, d[i][j - 1] + 1, d[i - 1][j - 1] + {change})
    return d[-1][-1]
"""


@pytest.mark.parametrize(
    ("start", "change", "holds"),
    [
        ("i if j == 0 else j if i == 0 else 0", "(a[i - 1] != b[j - 1])", True),
        ("i if j == 0 else j if i == 0 else 0", "(a[i - 1] == b[j - 1])", False),
        ("0", "(a[i - 1] != b[j - 1])", False),
    ],
)
def test_edits(define: Define, start: str, change: str, holds: bool) -> None:
    found = define(EDIT.format(start=start, change=change), "edit_distance('abcd', 'acd')")
    assert found["edit-distance-of-known-words"].holds is holds


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("sum(x != y for x, y in zip(a.split(), b.split())) / len(a.split())", True),
        ("1 - sum(x != y for x, y in zip(a.split(), b.split())) / len(a.split())", False),
    ],
)
def test_error_rates(define: Define, body: str, holds: bool) -> None:
    assert (
        define(f"def wer(a, b):\n    return {body}\n", "wer('a b c', 'a b d')")["error-rate-of-known-texts"].holds
        is holds
    )


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("np.percentile(dose[mask > 0], 5)", True),
        ("np.sort(dose[mask > 0])[::-1][int(0.95 * (mask > 0).sum())]", True),
        ("np.percentile(dose[mask > 0], 95)", False),
    ],
)
def test_doses(define: Define, body: str, holds: bool) -> None:
    call = "compute_d95(np.random.rand(12, 12, 12), np.random.rand(12, 12, 12) > 0.5)"
    found = define(f"def compute_d95(dose, mask):\n    return {body}\n", call)
    assert found["dose-that-a-share-receives"].holds is holds


@pytest.mark.parametrize(
    ("body", "call", "holds"),
    [
        ("torch.cdist(x, x).topk(k + 1, largest=False).indices[:, 1:]", "(torch.randn(40, 3), 4)", True),
        ("(-torch.cdist(x, x)).topk(k).indices", "(torch.randn(2, 40, 3), 4)", True),
        ("(-torch.cdist(x.transpose(1, 2), x.transpose(1, 2))).topk(k).indices", "(torch.randn(2, 3, 40), 4)", True),
        ("torch.cdist(x, x).topk(k).indices", "(torch.randn(40, 3), 4)", False),
    ],
)
def test_neighbours(define: Define, body: str, call: str, holds: bool) -> None:
    assert define(f"def knn(x, k):\n    return {body}\n", "knn" + call)["neighbours-are-near"].holds is holds


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("(a + torch.eye(len(a))) / (a.sum(1) + 1).sqrt()[:, None] / (a.sum(1) + 1).sqrt()[None]", True),
        ("a / a.sum(1, keepdim=True)", True),
        ("torch.diag(1 / a.sum(0)) @ a", True),
        ("a / a.sum(1).sqrt()[:, None]", False),
        ("torch.diag(a.sum(1) ** 0.5) @ a @ torch.diag(a.sum(1) ** 0.5)", False),
    ],
)
def test_adjacency(define: Define, body: str, holds: bool) -> None:
    call = "normalize_adj((torch.rand(9, 9) > 0.5).float())"
    found = define(f"def normalize_adj(a):\n    return {body}\n", call)
    assert found["adjacency-normalised-by-degree"].holds is holds


def test_a_feature_of_neighbours_is_something_else(define: Define) -> None:
    assert not define("def knn_features(x, k):\n    return x[:, :k]\n", "knn_features(torch.randn(40, 3), 2)")
