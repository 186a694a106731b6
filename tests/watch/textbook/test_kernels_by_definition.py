"""Kernels, derivatives and smoothing by definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Define = Callable[..., Any]
IMAGE = "torch.rand(2, 1, 16, 20)"


@pytest.mark.parametrize(
    ("offset", "body", "holds"),
    [
        ("size // 2", "g / g.sum()", True),
        ("(size - 1) / 2", "g", True),
        ("size // 2", "torch.outer(g / g.sum(), g / g.sum())", True),
        ("size // 2", "torch.outer(g / g.sum(), g / g.sum()).expand(3, 1, size, size)", True),
        ("size // 2", "g / 2", False),
        ("size / 2", "g / g.sum()", False),
        ("size // 2", "torch.outer(g, g) / g.sum()", False),
        ("0", "g / g.sum()", False),
    ],
)
def test_gaussian_kernels(define: Define, offset: str, body: str, holds: bool) -> None:
    source = f"def gaussian_kernel(size, sigma):\n    x = torch.arange(size).float() - {offset}\n"
    source += f"    g = torch.exp(-x ** 2 / (2 * sigma ** 2))\n    return {body}"
    assert define(source, "gaussian_kernel(11, 1.5)")["gaussian-kernel"].holds is holds


@pytest.mark.parametrize(
    "source",
    [
        "def gaussian(x, sigma=1.0):\n    return torch.exp(-x ** 2 / sigma)",
        "def gaussian(mu, sigma, n=9):\n    return torch.exp(-(torch.arange(9.) - mu) ** 2 / sigma)",
        "def gaussian_noise(size, sigma):\n    return torch.randn(size) * sigma",
    ],
)
def test_other_gaussians(define: Define, source: str) -> None:
    call = "(torch.rand(9))" if "(x," in source else "(3, 1.5)"
    assert not define(source, source[4 : source.index("(")] + call)


SOBEL = """
def {}(x):
    k = torch.tensor({}, dtype=x.dtype)
    pad = lambda w: F.conv2d(x, w[None, None], padding=1)
    return {}
"""
RIGHT = "[[-1., 0, 1], [-2, 0, 2], [-1, 0, 1]]"


@pytest.mark.parametrize(
    ("name", "kernel", "body", "holds"),
    [
        ("sobel", RIGHT, "(pad(k) ** 2 + pad(k.T) ** 2).sqrt()", True),
        ("sobel", RIGHT, "(pad(k), pad(k.T))", True),
        ("sobel_edges", RIGHT, "torch.cat([pad(k), pad(k.T)], 1)", True),
        ("gradient_x", RIGHT, "pad(k)", True),
        ("image_gradient", RIGHT, "(x[..., 1:] - x[..., :-1], x[..., 1:, :] - x[..., :-1, :])", True),
        ("laplacian", "[[0., 1, 0], [1, -4, 1], [0, 1, 0]]", "pad(k)", True),
        ("sobel", "[[-1., 0, 1], [-2, 0, 2], [-1, 0, 2]]", "pad(k).abs() + pad(k.T).abs()", False),
        ("sobel", RIGHT, "pad(k) ** 2 + x", False),
        ("sobel", RIGHT, "(pad(k) + pad(k)) * 0", False),
        ("sobel", RIGHT, "(pad(k), pad(k))", False),
        ("gradient_x", RIGHT, "pad(k.T)", False),
        ("gradient_y", RIGHT, "x[..., 1:] - x[..., :-1]", False),
        ("laplacian", "[[0., 1, 0], [1, -3, 1], [0, 1, 0]]", "pad(k)", False),
    ],
)
def test_derivatives(define: Define, name: str, kernel: str, body: str, holds: bool) -> None:
    assert define(SOBEL.format(name, kernel, body), f"{name}({IMAGE})")["derivative-of-an-image"].holds is holds


def test_a_penalty_on_gradients_is_something_else(define: Define) -> None:
    assert not define("def gradient_penalty(x):\n    return x.mean()", f"gradient_penalty({IMAGE})")


@pytest.mark.parametrize(("weights", "holds"), [("w / w.sum()", True), ("w", False), ("w / 9", True), ("w / 8", False)])
def test_smoothing(define: Define, weights: str, holds: bool) -> None:
    source = "def gaussian_blur(x, size=3):\n    w = torch.ones(1, 1, size, size)\n"
    source += f"    return F.conv2d(x, {weights}, padding=size // 2)"
    assert define(source, f"gaussian_blur({IMAGE})")["smoothing-of-a-constant"].holds is holds


ACROSS, DOWN = "(x[..., 1:] - x[..., :-1])", "(x[..., 1:, :] - x[..., :-1, :])"


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        (f"{ACROSS}.abs().mean() + {DOWN}.abs().mean()", True),
        (f"({ACROSS} ** 2).sum() + ({DOWN} ** 2).sum()", True),
        (f"({ACROSS}[..., 1:, :] ** 2 + {DOWN}[..., 1:] ** 2 + 1e-8).sqrt().mean()", True),
        (f"2 * {ACROSS}.abs().mean()", False),
        (f"-{ACROSS}.abs().mean() - {DOWN}.abs().mean()", False),
        (f"{ACROSS}.abs().mean() + {DOWN}.abs().mean() + x.abs().mean()", False),
        (f"({ACROSS}[..., 1:, :] * {DOWN}[..., 1:]).abs().mean()", False),
    ],
)
@pytest.mark.parametrize("shape", ["torch.rand(2, 3, 16, 20)", "torch.rand(16, 20)"])
def test_roughness(define: Define, body: str, holds: bool, shape: str) -> None:
    assert define(f"def tv_loss(x):\n    return {body}", f"tv_loss({shape})")["cost-of-roughness"].holds is holds


@pytest.mark.parametrize(("axes", "holds"), [("(2, 3, 4)", True), ("(3, 4)", False), ("(2, 4)", False)])
def test_of_a_field_in_a_volume(define: Define, axes: str, holds: bool) -> None:
    source = "class Smoothness(nn.Module):\n    def forward(self, flow, image):\n        w = torch.exp(-image.std())\n"
    source += f"        return w * sum(flow.diff(dim=d).pow(2).mean() for d in {axes})"
    call = "Smoothness()(torch.rand(1, 3, 12, 10, 9), torch.rand(1, 1, 12, 10, 9))"
    assert define(source, call)["cost-of-roughness"].holds is holds


def test_two_images_are_no_field(define: Define) -> None:
    source = "def grad_loss(a, b):\n    return (a.diff(dim=-1) - b.diff(dim=-1)).abs().mean()"
    assert not define(source, f"grad_loss({IMAGE}, {IMAGE})")
