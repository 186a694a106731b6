"""Fourier transforms and magnetic resonance by definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Define = Callable[..., Any]
COMPLEX = "torch.randn(2, 1, 8, 12, dtype=torch.complex64)"
AXES = "dim=(-2, -1)"
SHIFTED = f"torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(x, {AXES}), norm='ortho'), {AXES})"


@pytest.mark.parametrize(
    ("body", "call", "energy", "centre"),
    [
        (SHIFTED, COMPLEX, True, True),
        (SHIFTED.replace(", norm='ortho'", ""), COMPLEX, True, True),
        (SHIFTED.replace("fft2", "ifft2"), COMPLEX, True, True),
        (f"torch.view_as_real({SHIFTED.replace('ifftshift(x', 'ifftshift(torch.view_as_complex(x)')})",
         "torch.randn(1, 8, 10, 2)", True, True),
        ("np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(x)))", "np.random.randn(8, 10) + 0j", True, True),
        ("np.fft.fftshift(np.fft.fft2(np.fft.fftshift(x)))", "np.random.randn(8, 10) + 0j", True, False),
        ("torch.fft.fft2(x, norm='ortho')", COMPLEX, True, False),
        (f"torch.fft.fftshift(torch.fft.fft2(x), {AXES})", COMPLEX, True, False),
        ("torch.fft.fftshift(torch.fft.fft2(torch.fft.ifftshift(x)))", COMPLEX.replace("2, 1", "2, 3"), True, True),
        (SHIFTED + " / x.abs().max()", COMPLEX, False, None),
        (SHIFTED + " * 3", COMPLEX, False, None),
    ],
)  # fmt: skip
def test_fourier_transforms(define: Define, body: str, call: str, energy: bool, centre: bool | None) -> None:
    found = define(f"def fft2c(x):\n    return {body}", f"fft2c({call})")
    assert found["energy-of-a-fourier-transform"].holds is energy
    if centre is not None:
        assert found["constant-image-in-the-spectrum"].holds is centre


@pytest.mark.parametrize(
    ("name", "body"),
    [("fft2", "torch.fft.rfft2(x)"), ("fft_magnitude", "torch.fft.fft2(x).abs()"), ("fft2", "torch.fft.fft2(x).abs()")],
)
def test_halves_and_magnitudes_are_left_alone(define: Define, name: str, body: str) -> None:
    assert not define(f"def {name}(x):\n    return {body}", f"{name}(torch.randn(2, 8, 8))")


def test_an_origin_in_the_corner_where_no_name_says_otherwise(define: Define) -> None:
    found = define("def fft2(x):\n    return torch.fft.fft2(x)", f"fft2({COMPLEX})")
    assert set(found) == {"energy-of-a-fourier-transform"}
    assert found["energy-of-a-fourier-transform"].holds


@pytest.mark.parametrize(
    ("body", "call", "holds"),
    [
        ("(x ** 2).sum(1).sqrt()", "rss(torch.rand(2, 4, 8, 8))", True),
        ("(x ** 2).sum((1, -1)).sqrt()", "rss(torch.rand(2, 4, 8, 8, 2))", True),
        ("(x.abs() ** 2).sum(1, keepdim=True).sqrt()", "rss(torch.rand(2, 4, 8, 8) + 0j)", True),
        ("(x ** 2).mean(1).sqrt()", "rss(torch.rand(2, 4, 8, 8))", False),
        ("x.sum(1).abs()", "rss(torch.rand(2, 5, 8, 8))", False),
        ("(x ** 2).sum(1)", "rss(torch.rand(2, 5, 8, 8))", False),
    ],
)
def test_coils(define: Define, body: str, call: str, holds: bool) -> None:
    assert define(f"def rss(x):\n    return {body}", call)["root-sum-of-squares"].holds is holds


@pytest.mark.parametrize(
    ("body", "holds"),
    [("(x ** 2).sum(-1).sqrt()", True), ("torch.view_as_complex(x).abs()", True), ("x.abs().sum(-1)", False)],
)
def test_magnitudes(define: Define, body: str, holds: bool) -> None:
    source = f"def complex_abs(x):\n    return {body}"
    assert define(source, "complex_abs(torch.rand(3, 8, 2))")["magnitude-of-a-complex-number"].holds is holds


@pytest.mark.parametrize(("sign", "holds"), [("-", True), ("+", False)])
def test_products(define: Define, sign: str, holds: bool) -> None:
    source = f"def complex_mul(x, y):\n    re = x[..., 0] * y[..., 0] {sign} x[..., 1] * y[..., 1]\n"
    source += "    return torch.stack([re, x[..., 0] * y[..., 1] + x[..., 1] * y[..., 0]], -1)"
    found = define(source, "complex_mul(torch.rand(3, 8, 2), torch.rand(3, 8, 2))")
    assert found["product-of-complex-numbers"].holds is holds


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("(1 - mask) * k + mask * k0", True),
        ("(1 - mask) * k + k0", True),
        ("torch.where(mask.bool(), k0, k)", True),
        ("mask * k + (1 - mask) * k0", False),
        ("k + mask * k0", False),
        ("mask * k0", False),
    ],
)
def test_data_consistency(define: Define, body: str, holds: bool) -> None:
    source = f"class DataConsistency(nn.Module):\n    def forward(self, k, k0, mask):\n        return {body}"
    call = "DataConsistency()(torch.rand(2, 2, 8, 8), torch.rand(2, 2, 8, 8), torch.ones(2, 1, 8, 8))"
    assert define(source, call)["measured-data-are-kept"].holds is holds


def test_a_weight_that_learns_is_something_else(define: Define) -> None:
    source = "class DataConsistency(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    source += "        self.w = nn.Parameter(torch.ones(1))\n    def forward(self, k, k0, mask):\n"
    source += "        return k - self.w * mask * (k - k0) / 2"
    call = "DataConsistency()(torch.rand(2, 2, 8, 8), torch.rand(2, 2, 8, 8), torch.ones(2, 1, 8, 8))"
    assert not define(source, call)
