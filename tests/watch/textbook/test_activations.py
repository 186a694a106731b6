"""Overlaps of raw outputs, under whatever name, against overlaps of probabilities and losses that take logits."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Define = Callable[..., dict[str, Any]]
KEY = "overlap-of-shares"
MAPS = "(3 * torch.randn(2, 4, 8, 8, requires_grad=True), torch.randint(0, 4, (2, 1, 8, 8)))"
ONES = "(3 * torch.randn(2, 1, 8, 8, requires_grad=True), (torch.rand(2, 1, 8, 8) > 0.6).float())"
HOT = "(3 * torch.randn(2, 4, 8, 8, requires_grad=True), F.one_hot(torch.randint(0, 4, (2, 8, 8)), 4).movedim(-1, 1))"

COST = """
class Cost:
    def __init__(self, classes):
        self.classes = classes

    def __call__(self, out, label):
        p = {}
        t = F.one_hot(label[:, 0], self.classes).movedim(-1, 1).float()
        both = (p * t).sum((0, 2, 3))
        return 1 - (2 * both / (p.sum((0, 2, 3)) + t.sum((0, 2, 3)) + 1e-5)).mean()
"""


@pytest.mark.parametrize(
    ("activation", "holds"),
    [
        ("out", False),
        ("out / 2 + 0.1", False),
        ("torch.softmax(out, 1)", True),
        ("torch.sigmoid(out)", True),
        ("out.clamp(0, 1)", True),
        ("F.log_softmax(out, 1).exp()", True),
    ],
)
def test_costs_without_a_telling_name(define: Define, activation: str, holds: bool) -> None:
    found = define(COST.format(activation), "Cost(4)" + MAPS)
    if holds:
        assert KEY not in found or found[KEY].holds
        return
    assert not found[KEY].holds
    assert found[KEY].universal
    assert "prefers wrong ones" in found[KEY].got


def test_probabilities_are_what_it_is_for(define: Define) -> None:
    assert KEY not in define(COST.format("out"), "Cost(4)" + MAPS.replace("3 * torch.randn", "torch.rand"))


def test_what_does_not_learn_is_another_matter(define: Define) -> None:
    assert KEY not in define(COST.format("out"), "Cost(4)" + MAPS.replace(", requires_grad=True", ""))


ONE = "def loss_fn(out, y):\n    p = {}\n    return {}"
DICE = "1 - (2 * (p * y).sum() + 1) / (p.sum() + y.sum() + 1)"
IOU = "1 - ((p * y).sum((1, 2, 3)) / (p.sum((1, 2, 3)) + y.sum((1, 2, 3)) - (p * y).sum((1, 2, 3)) + 1e-6)).mean()"
TVERSKY = "1 - (p * y).sum() / ((p * y).sum() + 0.3 * (p * (1 - y)).sum() + 0.7 * ((1 - p) * y).sum() + 1e-6)"


@pytest.mark.parametrize("overlap", [DICE, IOU, TVERSKY])
@pytest.mark.parametrize(
    ("activation", "holds"), [("out", False), ("torch.sigmoid(out)", True), ("out.sigmoid()", True)]
)
def test_binary_overlaps(define: Define, overlap: str, activation: str, holds: bool) -> None:
    assert define(ONE.format(activation, overlap), "loss_fn" + ONES)[KEY].holds is holds


@pytest.mark.parametrize(
    "value",
    [
        "F.binary_cross_entropy_with_logits(p, y)",
        "F.mse_loss(p, y)",
        "(p - y).abs().mean()",
        "F.relu(1 - p * (2 * y - 1)).mean()",
        "-(p * (2 * y - 1)).mean()",
        "1 - F.cosine_similarity(p.flatten(1), y.flatten(1)).mean()",
        "1 - 2 * (p * y).sum() / (p.square().sum() + y.square().sum())",
        "F.binary_cross_entropy_with_logits(p, y) + 1 - 2 * (p.sigmoid() * y).sum() / (p.sigmoid() + y).sum()",
    ],
)
def test_losses_of_any_numbers(define: Define, value: str) -> None:
    found = define(ONE.format("out", value), "loss_fn" + ONES)
    assert KEY not in found or found[KEY].holds


@pytest.mark.parametrize(
    "value",
    ["F.cross_entropy(out, y.float())", "-(y * F.log_softmax(out, 1)).sum(1).mean()", "-(y * out).sum(1).mean()"],
)
def test_losses_of_columns(define: Define, value: str) -> None:
    found = define(f"def criterion(out, y):\n    return {value}", "criterion" + HOT)
    assert KEY not in found or found[KEY].holds


def test_columns(define: Define) -> None:
    source = "def criterion(out, y):\n    return 1 - (2 * (out * y).sum((2, 3)) / (out + y).sum((2, 3))).mean()"
    assert not define(source, "criterion" + HOT)[KEY].holds
