"""Mixing of samples by definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Define = Callable[..., Any]
MIXUP = """
def mixup_data(x, y, alpha=1.0):
    lam = np.random.beta(alpha, alpha)
    order = torch.randperm(len(x))
    mixed = lam * x + (1 - lam) * x[{images}]
    return mixed, y, y[{labels}], {weight}
"""
CALL = "(torch.randn(8, 3, 16, 16), torch.arange(8) % 4)"


@pytest.mark.parametrize(
    ("images", "labels", "weight", "holds"),
    [
        ("order", "order", "lam", True),
        ("order", "order", "1 - lam", False),
        ("order", "torch.randperm(len(x))", "lam", False),
        ("torch.arange(len(x) - 1, -1, -1)", "order", "lam", False),
    ],
)
def test_mixup(define: Define, images: str, labels: str, weight: str, holds: bool) -> None:
    found = define(MIXUP.format(images=images, labels=labels, weight=weight), "mixup_data" + CALL)
    assert found["mixed-labels-follow-the-images"].holds is holds


CUTMIX = """
def cutmix(x, y, alpha=1.0):
    lam = np.random.beta(alpha, alpha)
    order = torch.randperm(len(x))
    H, W = x.shape[-2:]
    side = (1 - lam) ** 0.5
    h, w, cy, cx = int(H * side), int(W * side), np.random.randint(H), np.random.randint(W)
    y1, y2, x1, x2 = max(cy - h // 2, 0), min(cy + h // 2, H), max(cx - w // 2, 0), min(cx + w // 2, W)
    x = x.clone()
    x[:, :, y1:y2, x1:x2] = x[order][:, :, y1:y2, x1:x2]
    {}
    return x, {}
"""
AREA = "lam = 1 - (y2 - y1) * (x2 - x1) / (H * W)"


@pytest.mark.parametrize(
    ("area", "labels", "call", "holds"),
    [
        (AREA, "y, y[order], lam", CALL, True),
        (
            AREA,
            "lam * y + (1 - lam) * y[order]",
            CALL.replace("torch.arange(8) % 4", "torch.eye(4)[torch.arange(8) % 4]"),
            True,
        ),
        ("pass", "y, y[order], lam", CALL, False),
        ("lam = (y2 - y1) * (x2 - x1) / (H * W)", "y, y[order], lam", CALL, False),
    ],
)
def test_cutmix(define: Define, area: str, labels: str, call: str, holds: bool) -> None:
    assert define(CUTMIX.format(area, labels), "cutmix" + call)["mixed-labels-follow-the-images"].holds is holds


def test_a_loss_of_mixed_labels_is_something_else(define: Define) -> None:
    source = "def mixup_criterion(x, y):\n    return (x.mean((1, 2, 3)) - y).mean()\n"
    assert not define(source, "mixup_criterion" + CALL)


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("F.one_hot(y, 5) * 0.9 + 0.1 / 5", True),
        ("F.one_hot(y, 5) * (0.9 - 0.1 / 4) + 0.1 / 4", True),
        ("F.one_hot(y, 5) * 0.9 + 0.1", False),
        ("(1 - F.one_hot(y, 5)) * 0.24 + 0.01", False),
    ],
)
def test_smoothed_labels(define: Define, body: str, holds: bool) -> None:
    found = define(f"def smooth_labels(y):\n    return {body}\n", "smooth_labels(torch.arange(8) % 5)")
    assert found["smoothed-labels-sum-to-one"].holds is holds
