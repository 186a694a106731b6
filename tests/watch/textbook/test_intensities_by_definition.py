"""Intensities by definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Define = Callable[..., Any]
CT = "(np.random.rand(24, 24) * 2000 - 1000).astype('float32')"
NOISE = "torch.randn(2, 1, 24, 24) * 30 + 50"


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("low = center - width / 2\n    return (np.clip(image, low, low + width) - low) / width", True),
        ("low = center - width // 2\n    return np.clip((image - low) / width, 0, 1) * 2 - 1", True),
        ("x = (np.clip((image - center + 0.5) / (width - 1) + 0.5, 0, 1) * 255)\n    return x.astype(np.uint8)", True),
        ("x = np.clip(image, center - width / 2, center + width / 2)\n    return (x - x.min()) / np.ptp(x)", True),
        ("return 1 / (1 + np.exp(-4 * (image - center) / width))", True),
        ("low, high = center - width, center + width\n    return np.clip((image - low) / (high - low), 0, 1)", False),
        ("low = center - width / 2\n    return (image - low) / width", False),
        ("return np.clip((image - center) / width, 0, 1)", False),
        ("x = (image - center + width / 2) / width * 255\n    return x.astype(np.int64).astype(np.uint8)", False),
        ("return np.zeros_like(image)", False),
    ],
)  # fmt: skip
def test_windows(define: Define, body: str, holds: bool) -> None:
    source = f"def apply_window(image, center, width):\n    {body}"
    found = define(source, f"apply_window({CT}, 40, 400)").get("intensity-window")
    if "np.exp" in body:
        assert found is None  # a curve
    else:
        assert found.holds is holds, found


def test_attention_in_windows_is_something_else(define: Define) -> None:
    source = "def window_partition(x, w):\n    return x.view(-1, w, w)"
    assert not define(source, "window_partition(torch.rand(16, 16), 4)")


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("np.clip((x - hu_min) / (hu_max - hu_min), 0, 1)", True),
        ("(np.clip(x, hu_min, hu_max) - hu_min) / (hu_max - hu_min) - 0.25", True),
        ("(x - hu_min) / (hu_max - hu_min)", True),
        ("np.clip((x - hu_min) / hu_max, 0, 1)", False),
        ("np.clip((hu_max - x) / (hu_max - hu_min), 0, 1)", False),
    ],
)
def test_ranges(define: Define, body: str, holds: bool) -> None:
    source = f"def normalize_hu(x, hu_min=-1000.0, hu_max=400.0):\n    return {body}"
    assert define(source, f"normalize_hu({CT})")["range-of-intensities"].holds is holds


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("(x - x.mean()) / (x.std() + 1e-8)", True),
        ("(x - x.mean((2, 3), keepdim=True)) / x.std((2, 3), keepdim=True)", True),
        ("(x - x[x > 0].mean()) / x[x > 0].std()", True),
        ("(x - x.mean()) / x.var()", False),
        ("x / x.std()", False),
        ("(x - x.median()) / (x.max() - x.min())", False),
        ("(x - 50) / 30", None),
    ],
)
def test_standard_scores(define: Define, body: str, holds: bool | None) -> None:
    found = define(f"def zscore(x):\n    return {body}", f"zscore({NOISE})").get("standard-scores")
    assert (found.holds if found else None) is holds


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("(x - x.min()) / (x.max() - x.min() + 1e-8)", True),
        ("2 * (x - x.min()) / (x.max() - x.min()) - 1", True),
        ("(x - x.amin((2, 3), keepdim=True)) / (x.amax((2, 3), keepdim=True) - x.amin((2, 3), keepdim=True))", True),
        ("(x - x.min()) / x.max()", False),
        ("x / x.max()", False),
        ("(x + 1000) / 1400", None),
    ],
)
def test_smallest_and_largest(define: Define, body: str, holds: bool | None) -> None:
    found = define(f"def min_max_normalize(x):\n    return {body}", f"min_max_normalize({NOISE})")
    record = found.get("smallest-and-largest")
    assert (record.holds if record else None) is holds


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("image.astype(np.float32) * slope + intercept", True),
        ("(image.astype(np.float64) * slope).astype(np.int16) + np.int16(intercept)", True),
        ("np.clip(image * float(slope) + intercept, -200, 3000)", True),
        ("image + np.array(intercept).astype(np.uint16)", False),
        ("(image.astype(float) + intercept) * (slope * 2.0)", False),
        ("image * float(slope) - intercept", False),
    ],
)
def test_hounsfield_units(define: Define, body: str, holds: bool) -> None:
    source = f"def convert_to_hu(image, slope, intercept):\n    return {body}"
    call = "convert_to_hu((np.random.rand(16, 16) * 3000).astype(np.uint16), 1, -1024)"
    assert define(source, call)["hounsfield-units"].holds is holds


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("x ** gamma", True),
        ("x ** (1 / gamma)", True),
        ("(x * 255) ** gamma", False),
        ("x * gamma + 0.1", False),
        ("(1 - x) ** gamma", False),
    ],
)
def test_gamma(define: Define, body: str, holds: bool) -> None:
    source = f"def adjust_gamma(x, gamma=1.5):\n    return {body}"
    assert define(source, "adjust_gamma(torch.rand(1, 16, 16))")["gamma-of-one"].holds is holds


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("(x * 255).clip(0, 255).astype(np.uint8)", True),
        ("(255 * (x - x.min()) / (x.max() - x.min())).astype('uint8')", True),
        ("(x * 256).astype(np.int32).astype(np.uint8)", False),
        ("(x * 255 + 10).astype(np.int32).astype(np.uint8)", False),
    ],
)
def test_eight_bits(define: Define, body: str, holds: bool) -> None:
    source = f"def to_uint8(x):\n    return {body}"
    assert (
        define(source, "to_uint8(np.random.rand(20, 20).astype('float32'))")["eight-bits-without-wrap"].holds is holds
    )


def test_numbers_below_zero_wrap(define: Define) -> None:
    source = "def to_uint8(x):\n    return (x * 255).astype(np.int32).astype(np.uint8)"
    assert not define(source, "to_uint8(np.random.randn(20, 20) / 9)")["eight-bits-without-wrap"].holds


@pytest.mark.parametrize(
    ("name", "body", "key", "holds"),
    [
        ("normalize", "(x - mean) / std", "normalisation-by-given-numbers", True),
        ("normalize", "(x - mean) / std ** 2", "normalisation-by-given-numbers", False),
        ("normalize", "x - mean / std", "normalisation-by-given-numbers", False),
        ("denormalize", "x * std + mean", "denormalisation", True),
        ("denormalize", "(x * std + mean).clamp(0, 1) * 255", "denormalisation", True),
        ("denormalize", "(x + mean) * std", "denormalisation", False),
        ("denormalize", "x / std + mean", "denormalisation", False),
    ],
)
def test_given_numbers(define: Define, name: str, body: str, key: str, holds: bool) -> None:
    source = f"def {name}(x, mean=0.4, std=0.2):\n    return {body}"
    assert define(source, f"{name}(torch.rand(1, 16, 16))")[key].holds is holds


@pytest.mark.parametrize(("body", "holds"), [("x * s + m", True), ("x * s + m.flip(0)", True), ("x * m + s", False)])
def test_of_several_channels(define: Define, body: str, holds: bool) -> None:
    source = "def denormalize(x, mean, std):\n    m, s = (torch.tensor(v).view(-1, 1, 1) for v in (mean, std))\n"
    call = "denormalize(torch.rand(3, 16, 16), [.48, .45, .4], [.2, .21, .22])"
    assert define(f"{source}    return {body}", call)["denormalisation"].holds is holds
