"""Losses of classes and masks by definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Define = Callable[..., Any]
BINARY = "(torch.randn(2, 1, 20, 20), (torch.rand(2, 1, 20, 20) > 0.5).float())"
CHANCES = "(torch.rand(2, 1, 20, 20), (torch.rand(2, 1, 20, 20) > 0.5).float())"
TURNED = "((torch.rand(2, 1, 20, 20) > 0.5).float(), torch.rand(2, 1, 20, 20))"
MASKS = "(torch.randn(2, 3, 20, 20), torch.randint(0, 3, (2, 20, 20)))"
VECTORS = "(torch.randn(8, 5), torch.randint(0, 5, (8,)))"
ROWS = "(torch.randn(8, 1), torch.randint(0, 2, (8,)).float())"
DICE = """
def dice_loss(pred, target, eps={eps}):
    {activation}
    inter = (pred * target).sum({axes})
    return {result}
"""


def dice(
    result: str,
    activation: str = "pred = pred.sigmoid()",
    eps: str = "1e-5",
    axes: str = "",
) -> str:
    return DICE.format(result=result, activation=activation, eps=eps, axes=axes)


WHOLE = "1 - (2 * inter + eps) / (pred.sum() + target.sum() + eps)"
SAMPLES = "(1 - (2 * inter + eps) / (pred.sum((2, 3)) + target.sum((2, 3)) + eps)).mean()"
SQUARES = "1 - (2 * inter + eps) / ((pred ** 2).sum() + (target ** 2).sum() + eps)"


@pytest.mark.parametrize(
    ("source", "call"),
    [
        (dice(WHOLE), BINARY),
        (dice(WHOLE, eps="1.0"), BINARY),
        (dice(SQUARES), BINARY),
        (dice(SAMPLES, axes="(2, 3)"), BINARY),
        (dice(WHOLE, "pass"), CHANCES),
        (dice("-(2 * inter + eps) / (pred.sum() + target.sum() + eps)"), BINARY),
        (dice("1 - (2 * inter + eps) / (pred.sum() + target.sum() + eps)", "pred, target = pred, target"), CHANCES),
    ],
)
def test_dice_losses(define: Define, source: str, call: str) -> None:
    found = define(source, "dice_loss" + call)
    assert {*found} == {"class-loss-prefers-the-truth", "dice-loss-of-known-overlap", "loss-without-order"}
    assert all(one.holds for one in found.values())


@pytest.mark.parametrize(
    ("result", "broken"),
    [
        ("(2 * inter + eps) / (pred.sum() + target.sum() + eps)", "class-loss-prefers-the-truth"),
        ("1 - (inter + eps) / (pred.sum() + target.sum() + eps)", "dice-loss-of-known-overlap"),
        ("1 - (2 * inter + eps) / (pred.sum() + target.sum() - inter + eps)", "dice-loss-of-known-overlap"),
        ("1 - (2 * inter + eps) / (pred[0].sum() + target.sum() + eps)", "loss-without-order"),
        ("1 - (2 * (pred[:1] * target[:1]).sum() + eps) / (pred.sum() + target.sum() + eps)", "loss-without-order"),
    ],
)
def test_and_what_is_none(define: Define, result: str, broken: str) -> None:
    assert not define(dice(result), "dice_loss" + BINARY)[broken].holds


@pytest.mark.parametrize(("rows", "broken"), [(":4", None), (":12", None), ("::2", None), (":1", True), (":", False)])
def test_samples_that_are_left_out_on_purpose(define: Define, rows: str, broken: bool | None) -> None:
    """The first half of a batch has labels: another order brings others there. One sample stands for all by mistake."""
    source = f"def ce_loss(x, y):\n    return F.cross_entropy(x[{rows}], y[{rows}])\n"
    found = define(source, "ce_loss(torch.randn(24, 5), torch.arange(24) % 5)").get("loss-without-order")
    assert (found is None) if broken is None else (found is not None and found.holds is not broken)


def test_a_coefficient_that_is_subtracted_is_no_loss(define: Define) -> None:
    source = dice("(2 * inter + eps) / (pred.sum() + target.sum() + eps)")
    source += "\ndef total(p, t):\n    return 1 - dice_loss(p, t)\n"
    assert not define(source, "total" + BINARY)


@pytest.mark.parametrize(
    ("source", "call"),
    [
        ("def bce_loss(x, y):\n    return F.binary_cross_entropy_with_logits(x, y)\n", BINARY),
        ("def bce_loss(x, y):\n    return F.binary_cross_entropy(x, y, reduction='sum')\n", CHANCES),
        ("def bce_loss(p, y):\n    return -(y * (p + 1e-7).log() + (1 - y) * (1 - p + 1e-7).log()).mean()\n", CHANCES),
        (
            "def bce_loss(y, p):\n    return F.binary_cross_entropy(p, y)\n",
            TURNED,
        ),
        ("def bce_loss(x, y):\n    return F.binary_cross_entropy_with_logits(x.squeeze(1), y)\n", ROWS),
        (
            "def balanced_bce_loss(x, y):\n    w = torch.where(y > 0, 1 - y.mean(), y.mean())\n"
            "    return F.binary_cross_entropy_with_logits(x, y, weight=w)\n",
            BINARY,
        ),
        ("def ce_loss(x, y):\n    return F.cross_entropy(x, y)\n", MASKS),
        ("def ce_loss(x, y):\n    return F.cross_entropy(x, y, weight=torch.tensor([1.0, 2, 3]))\n", MASKS),
        ("def ce_loss(x, y):\n    return F.nll_loss(x.log_softmax(1), y, reduction='none')\n", VECTORS),
        (
            "class CELoss(nn.Module):\n    def forward(self, logits, labels):\n"
            "        return F.cross_entropy(logits, labels.squeeze(1).long())\n",
            "()" + MASKS.replace("(2, 20, 20)", "(2, 1, 20, 20)"),
        ),
    ],
)
def test_cross_entropies(define: Define, source: str, call: str) -> None:
    name = source.split("(", maxsplit=1)[0].split()[1]
    found = define(source, name + call)
    assert {"class-loss-prefers-the-truth", "cross-entropy-of-known-probabilities", "loss-without-order"} <= {*found}
    assert all(one.holds for one in found.values())


@pytest.mark.parametrize(
    ("source", "call"),
    [
        ("def bce_loss(x, y):\n    return F.binary_cross_entropy_with_logits(x.sigmoid(), y)\n", BINARY),
        ("def bce_loss(p, y):\n    return -(y * (p + 1e-7).log() + (1 - p) * (1 - y + 1e-7).log()).mean()\n", CHANCES),
        ("def ce_loss(x, y):\n    return F.cross_entropy(x.softmax(1), y)\n", MASKS),
        ("def ce_loss(x, y):\n    return F.nll_loss(x.softmax(1), y)\n", VECTORS),
        ("def ce_loss(x, y):\n    return F.cross_entropy(x.log_softmax(0), y)\n", VECTORS),
    ],
)
def test_and_of_other_probabilities(define: Define, source: str, call: str) -> None:
    assert not define(source, source.split("(", maxsplit=1)[0].split()[1] + call)[
        "cross-entropy-of-known-probabilities"
    ].holds


FOCAL = """
class FocalLoss(nn.Module):
    def __init__(self, gamma=2.0, alpha=0.25):
        super().__init__()
        self.gamma, self.alpha = gamma, alpha

    def forward(self, x, y):
        {}
"""
EACH = "ce = F.binary_cross_entropy_with_logits(x, y, reduction='none'); "
SEVERAL = "ce = F.cross_entropy(x, y, reduction='none'); "


@pytest.mark.parametrize(
    ("body", "call"),
    [
        (EACH + "pt = torch.exp(-ce); return (self.alpha * (1 - pt) ** self.gamma * ce).mean()", BINARY),
        (EACH + "p = x.sigmoid(); pt = p * y + (1 - p) * (1 - y); return ((1 - pt) ** self.gamma * ce).sum()", BINARY),
        (SEVERAL + "return ((1 - torch.exp(-ce)) ** self.gamma * ce).mean()", MASKS),
        (SEVERAL + "return ((1 - torch.exp(-ce)) ** self.gamma * ce).mean()", VECTORS),
    ],
)
def test_focal_losses(define: Define, body: str, call: str) -> None:
    found = define(FOCAL.format(body), "FocalLoss()" + call)
    assert "focal-loss-of-known-probabilities" in found
    assert all(one.holds for one in found.values())


@pytest.mark.parametrize(
    ("body", "call"),
    [
        ("ce = F.cross_entropy(x, y); pt = torch.exp(-ce); return (1 - pt) ** self.gamma * ce", MASKS),
        (EACH + "pt = x.sigmoid(); return ((1 - pt) ** self.gamma * ce).mean()", BINARY),
        (EACH + "pt = torch.exp(-ce); return (pt ** self.gamma * ce).mean()", BINARY),
        (EACH + "pt = torch.exp(ce); return ((1 - pt) ** self.gamma * ce).mean()", BINARY),
    ],
)
def test_and_those_that_weigh_otherwise(define: Define, body: str, call: str) -> None:
    assert not define(FOCAL.format(body), "FocalLoss()" + call)["focal-loss-of-known-probabilities"].holds


SMOOTH = "def label_smoothing_loss(x, y, smoothing=0.1):\n    log = x.log_softmax(1)\n    {}\n"
NLL = "nll = -log.gather(1, y[:, None])[:, 0]; "


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        (NLL + "return ((1 - smoothing) * nll - smoothing * log.mean(1)).mean()", True),
        ("return F.cross_entropy(x, y, label_smoothing=smoothing)", True),
        (NLL + "return ((1 - smoothing) * nll).mean()", False),
        (NLL + "return ((1 - smoothing) * nll + smoothing * log.mean(1)).mean()", False),
    ],
)
def test_smoothed_labels(define: Define, body: str, holds: bool) -> None:
    found = define(SMOOTH.format(body), "label_smoothing_loss" + VECTORS)
    assert found["label-smoothing-costs-overconfidence"].holds is holds


IGNORED = "def ce_loss(x, y, ignore_index=255):\n    {}\n"
VOID = "(torch.randn(2, 3, 20, 20), torch.where(torch.rand(2, 20, 20) > 0.9, 255, torch.randint(0, 3, (2, 20, 20))))"


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("return F.cross_entropy(x, y, ignore_index=ignore_index)", True),
        ("return F.cross_entropy(x, y, ignore_index=ignore_index, reduction='sum') / y.numel()", True),
        ("return F.cross_entropy(x, torch.where(y == ignore_index, 0, y))", False),
    ],
)
def test_ignored_labels(define: Define, body: str, holds: bool) -> None:
    assert define(IGNORED.format(body), "ce_loss" + VOID)["ignored-labels-do-not-count"].holds is holds


def test_boxes_and_regressions_are_something_else(define: Define) -> None:
    source = "def box_iou_loss(a, b):\n    return (a - b).abs().mean()\n"
    assert not {*define(source, "box_iou_loss(torch.rand(8, 4), torch.rand(8, 4))")} - {"box-overlap-loss"}


def test_a_dice_loss_that_is_told_to_be_that_of_jaccard(define: Define) -> None:
    source = """
    class DiceLoss:
        jaccard = False

        def __init__(self, jaccard):
            self.jaccard = jaccard

        def __call__(self, p, t):
            both = (p * t).sum()
            return 1 - both / (p.sum() + t.sum() - both) if self.jaccard else 1 - 2 * both / (p.sum() + t.sum())
    """
    call = "(torch.rand(2, 1, 8, 8), (torch.rand(2, 1, 8, 8) > 0.5).float())"
    assert define(source, "DiceLoss(False)" + call)["dice-loss-of-known-overlap"].holds
    assert "dice-loss-of-known-overlap" not in define(source, "DiceLoss(True)" + call)
