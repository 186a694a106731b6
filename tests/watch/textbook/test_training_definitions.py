"""What steers a training, by definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Define = Callable[..., Any]
EMA = """
def update_ema(model, ema_model, decay=0.99):
    with torch.no_grad():
        for p, e in zip(model.parameters(), ema_model.parameters()):
            {}
"""
NETS = "(nn.Linear(4, 4), nn.Linear(4, 4))"


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("e.mul_(decay).add_(p, alpha=1 - decay)", True),
        ("e.copy_(e + (p - e) * (1 - decay))", True),
        ("e.mul_(1 - decay).add_(p, alpha=decay)", False),
        ("e = decay * e + (1 - decay) * p", False),
        ("p.mul_(decay).add_(e, alpha=1 - decay); e.copy_(p)", False),
        ("e.mul_(decay).add_(p, alpha=decay)", False),
    ],
)
def test_averages(define: Define, body: str, holds: bool) -> None:
    assert define(EMA.format(body), "update_ema" + NETS)["moving-average-keeps-its-share"].holds is holds


MOCO = """
class MoCo(nn.Module):
    def __init__(self):
        super().__init__()
        self.q, self.k, self.m = nn.Linear(4, 4), nn.Linear(4, 4), 0.999

    @torch.no_grad()
    def momentum_update(self):
        for q, k in zip(self.q.parameters(), self.k.parameters()):
            k.data = {}
"""


@pytest.mark.parametrize(
    ("body", "holds"),
    [("k.data * self.m + q.data * (1 - self.m)", True), ("k.data * (1 - self.m) + q.data * self.m", False)],
)
def test_averages_that_are_held(define: Define, body: str, holds: bool) -> None:
    found = define(
        "import functools\n" + MOCO.replace("    @torch.no_grad()\n", "").format(body), "MoCo().momentum_update()"
    )
    assert found["moving-average-keeps-its-share"].holds is holds


def test_a_soft_update_takes_a_small_share(define: Define) -> None:
    source = EMA.replace("update_ema", "soft_update").replace("decay=0.99", "tau=0.005")
    assert define(source.format("e.copy_(tau * p + (1 - tau) * e)"), "soft_update" + NETS)[
        "moving-average-keeps-its-share"
    ].holds


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("1 / np.bincount(labels)", True),
        ("len(labels) / (3 * np.bincount(labels))", True),
        ("torch.tensor(np.median(np.bincount(labels)) / np.bincount(labels))", True),
        ("{k: 1 / list(labels).count(k) for k in (0, 1, 2)}", True),
        ("np.bincount(labels) / len(labels)", False),
    ],
)
@pytest.mark.parametrize("labels", ["np.array([0, 0, 0, 1, 1, 2] * 3)", "[0, 0, 0, 1, 1, 2] * 3"])
def test_class_weights(define: Define, body: str, holds: bool, labels: str) -> None:
    found = define(f"def class_weights(labels):\n    return {body}\n", f"class_weights({labels})")
    assert found["rarer-classes-weigh-more"].holds is holds


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("(y == 0).sum(0) / (y == 1).sum(0)", True),
        ("(1 - y).sum() / y.sum()", True),
        ("y.sum(0) / (1 - y).sum(0)", False),
    ],
)
def test_positive_weights(define: Define, body: str, holds: bool) -> None:
    call = "pos_weight((torch.rand(40, 3) > 0.7).float())"
    assert define(f"def pos_weight(y):\n    return {body}\n", call)["positive-weight-grows-with-rarity"].holds is holds


@pytest.mark.parametrize(
    ("body", "holds"),
    [("1 / np.bincount(labels)[labels]", True), ("(np.bincount(labels) / len(labels))[labels]", False)],
)
def test_sample_weights(define: Define, body: str, holds: bool) -> None:
    found = define(
        f"def sample_weights(labels):\n    return {body}\n", "sample_weights(np.array([0, 0, 0, 1, 1, 2] * 3))"
    )
    assert found["rarer-samples-drawn-more"].holds is holds


RATE = """
def get_lr(step, warmup_steps=10, total_steps=100, base=1e-3, low=1e-5):
    if step < warmup_steps:
        return {warm}
    progress = (step - warmup_steps) / (total_steps - warmup_steps)
    return {cosine}
"""
WARM, COSINE = "base * (step + 1) / warmup_steps", "low + (base - low) * 0.5 * (1 + math.cos(math.pi * progress))"


@pytest.mark.parametrize(
    ("warm", "cosine", "holds"),
    [
        (WARM, COSINE, True),
        (WARM, "base * (1 - progress) ** 0.9", True),
        (WARM, "base * math.cos(math.pi * progress)", False),
        (WARM, COSINE.replace("math.pi * progress", "2 * math.pi * progress"), False),
        (WARM, COSINE.replace("math.pi * progress", "progress * 0.1"), False),
        ("base * (1 - step / warmup_steps)", COSINE, False),
    ],
)
def test_rates(define: Define, warm: str, cosine: str, holds: bool) -> None:
    found = define(RATE.format(warm=warm, cosine=cosine), "get_lr(3)")
    assert found["rate-falls-after-its-peak"].holds is holds


def test_a_rate_that_starts_again_is_something_else(define: Define) -> None:
    assert not define(RATE.replace("get_lr", "get_lr_restart").format(warm=WARM, cosine=COSINE), "get_lr_restart(3)")
