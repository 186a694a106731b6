"""Diffusion by definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Define = Callable[..., Any]
DDPM = """
class Diffusion:
    def __init__(self, T=200):
        self.betas = {betas}
        self.alphas_bar = (1 - self.betas).cumprod(0)
        self.alphas_prev = torch.cat([torch.ones(1), self.alphas_bar[:-1]])

    def q_sample(self, x0, t, noise=None):
        noise = torch.randn_like(x0) if noise is None else noise
        a = self.alphas_bar[t][:, None, None, None]
        return {mix}

    def predict_start_from_noise(self, x_t, t, noise):
        a = self.alphas_bar[t][:, None, None, None]
        return {start}

    def q_posterior(self, x_start, x_t, t):
        b, a, p = (one[t][:, None, None, None] for one in (self.betas, self.alphas_bar, self.alphas_prev))
        return {mean}, b
"""
RIGHT = {
    "betas": "torch.linspace(5e-4, 0.1, T)",
    "mix": "a.sqrt() * x0 + (1 - a).sqrt() * noise",
    "start": "(x_t - (1 - a).sqrt() * noise) / a.sqrt()",
    "mean": "b * p.sqrt() / (1 - a) * x_start + (1 - p) * (1 - b).sqrt() / (1 - a) * x_t",
}
X, T = "torch.randn(4, 1, 8, 8)", "torch.tensor([3, 60, 120, 30])"
CALLS = {
    "q_sample": f"Diffusion().q_sample({X}, {T}, {X})",
    "drawn": f"Diffusion().q_sample({X.replace('8, 8', '16, 16')}, {T})",
    "start": f"Diffusion().predict_start_from_noise({X}, {T}, {X})",
    "posterior": f"Diffusion().q_posterior({X}, {X}, {T})",
}


@pytest.mark.parametrize("call", [*CALLS])
def test_the_right_one(define: Define, call: str) -> None:
    found = define(DDPM.format(**RIGHT), CALLS[call])
    assert found
    assert all(one.holds for one in found.values())


@pytest.mark.parametrize(
    ("change", "call", "broken"),
    [
        ({"mix": "a * x0 + (1 - a) * noise"}, "q_sample", "noised-image-keeps-its-energy"),
        ({"mix": "a * x0 + (1 - a) * noise"}, "drawn", "noised-image-keeps-its-energy"),
        ({"mix": "a.sqrt() * x0 + (1 - a) * noise"}, "q_sample", "noised-image-keeps-its-energy"),
        ({"mix": "a[0].sqrt() * x0 + (1 - a[0]).sqrt() * noise"}, "q_sample", "noised-image-keeps-its-energy"),
        ({"mix": "(1 - a).sqrt() * x0 + a.sqrt() * noise"}, "q_sample", "noised-image-fades"),
        ({"betas": "torch.linspace(5e-4, 0.1, T).flip(0)"}, "q_sample", None),
        ({"start": "(x_t - (1 - a) * noise) / a.sqrt()"}, "start", "noise-prediction-undone"),
        ({"start": "x_t - (1 - a).sqrt() * noise / a.sqrt()"}, "start", "noise-prediction-undone"),
        ({"mean": "b * p.sqrt() / (1 - a) * x_t + (1 - p) * (1 - b).sqrt() / (1 - a) * x_start"}, "posterior",
         "posterior-of-the-noiseless-path"),
        ({"mean": "b * a.sqrt() / (1 - a) * x_start + (1 - p) * (1 - b).sqrt() / (1 - a) * x_t"}, "posterior",
         "posterior-of-the-noiseless-path"),
    ],
)  # fmt: skip
def test_and_wrong_ones(define: Define, change: dict[str, str], call: str, broken: str | None) -> None:
    found = define(DDPM.format(**{**RIGHT, **change}), CALLS[call])
    wrong = {key for key, one in found.items() if not one.holds}
    assert broken in wrong if broken else not wrong


def test_a_straight_path_is_another_process(define: Define) -> None:
    source = (
        "def add_noise(x0, t, noise):\n    s = (t / 100)[:, None, None, None]\n    return (1 - s) * x0 + s * noise\n"
    )
    assert not define(source, f"add_noise({X}, torch.tensor([3, 60, 90, 30]), {X})")


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("uncond + w * (cond - uncond)", True),
        ("(1 + w) * cond - w * uncond", True),
        ("(1 - w) * uncond + w * cond", True),
        ("uncond + w * cond", False),
        ("cond + w * (uncond - cond)", False),
    ],
)
def test_guidance(define: Define, body: str, holds: bool) -> None:
    found = define(f"def cfg(cond, uncond, w=3.0):\n    return {body}\n", f"cfg({X}, {X})")
    assert found["guidance-of-equal-predictions"].holds is holds
