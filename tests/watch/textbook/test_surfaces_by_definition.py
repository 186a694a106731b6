"""Distances of surfaces by definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

SURFACE = """
from scipy import ndimage
from scipy.spatial import cKDTree

def distances(a, b, spacing=None):
    a, b = np.asarray(a).squeeze() > 0.5, np.asarray(b).squeeze() > 0.5
    edge_a, edge_b = a ^ ndimage.binary_erosion(a), b ^ ndimage.binary_erosion(b)
    return ndimage.distance_transform_edt(~edge_b, sampling=spacing)[edge_a]

def points(a, spacing):
    a = np.asarray(a) > 0
    return np.argwhere(a ^ ndimage.binary_erosion(a)) * np.asarray(spacing)

"""
VOLUMES = "(np.arange(20 * 18 * 16).reshape(20, 18, 16) % 7 > 3).astype('uint8')"
SLICES = "(torch.arange(24 * 30).reshape(1, 1, 24, 30) % 7 > 3).float()"
ONE, OTHER = "distances(a, b, spacing)", "distances(b, a, spacing)"


@pytest.mark.parametrize(
    ("body", "spacing"),
    [
        (f"max({ONE}.max(), {OTHER}.max())", "(1, 1, 2)"),
        (f"np.percentile(np.hstack([{ONE}, {OTHER}]), 95)", "(3.0, 1.0, 1.0)"),
        (f"max(np.percentile({ONE}, 95), np.percentile({OTHER}, 95))", "np.array([1.0, 0.5, 0.5])"),
        ("max(distances(a, b, spacing[::-1]).max(), distances(b, a, spacing[::-1]).max())", "[0.7, 0.7, 5.0]"),
        ("max(cKDTree(points(a, spacing)).query(points(b, spacing))[0].max(), "
         "cKDTree(points(b, spacing)).query(points(a, spacing))[0].max())", "(1, 2, 1)"),
    ],
)  # fmt: skip
def test_a_hausdorff_distance(define: Callable[..., Any], body: str, spacing: str) -> None:
    source = f"{SURFACE}def hd95(a, b, spacing):\n    return {body}"
    assert define(source, f"hd95({VOLUMES}, {VOLUMES}[::-1], {spacing})")["hausdorff-distance"].holds


@pytest.mark.parametrize("unit", ["1.0", "0.4"])
def test_of_slices_whose_voxels_have_one_size(define: Callable[..., Any], unit: str) -> None:
    source = f"{SURFACE}def hausdorff(a, b):\n    return {unit} * max(distances(a, b).max(), distances(b, a).max())"
    assert define(source, f"hausdorff({SLICES}, {SLICES}.flip(2))")["hausdorff-distance"].holds


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (f"{ONE}.max()", "exchanged"),
        ("max(distances(a, b).max(), distances(b, a).max())", "2 long"),
        (f"max({ONE}.min(), {OTHER}.min())", "moved"),
        (f"max({ONE}.max(), {OTHER}.max()) + 1", "equal"),
        (f"np.percentile(np.hstack([{ONE}, {OTHER}]), 5)", "moved"),
        (f"max({ONE}.max(), {OTHER}.max()) ** 2", "moved"),
    ],
)
def test_and_what_is_none(define: Callable[..., Any], body: str, said: str) -> None:
    source = f"{SURFACE}def hausdorff_distance(a, b, spacing):\n    return {body}"
    found = define(source, f"hausdorff_distance({VOLUMES}, {VOLUMES}[::-1], (1.0, 1.0, 2.5))")["hausdorff-distance"]
    assert not found.holds
    assert said in found.given


@pytest.mark.parametrize(
    "call",
    [
        "hausdorff(torch.rand(40, 3), torch.rand(40, 3))",  # points
        f"hausdorff({SLICES} * 0.5, {SLICES})",  # probabilities
        f"hausdorff({SLICES}.repeat(2, 3, 1, 1), {SLICES}.repeat(2, 3, 1, 1))",  # several classes
    ],
)
def test_what_is_given_something_else_is_left_alone(define: Callable[..., Any], call: str) -> None:
    assert not define("def hausdorff(a, b):\n    return float((a - b).abs().max()) + 1", call)


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        (f"(({ONE}).mean() + ({OTHER}).mean()) / 2", True),
        (f"np.hstack([{ONE}, {OTHER}]).mean()", True),
        (f"{ONE}.mean()", False),
        (f"({ONE} + 1).mean()", False),
        ("np.hstack([distances(a, b), distances(b, a)]).mean()", False),
    ],
)
def test_an_average_distance(define: Callable[..., Any], body: str, holds: bool) -> None:
    source = f"{SURFACE}def assd(a, b, spacing):\n    return {body}"
    found = define(source, f"assd({VOLUMES}, {VOLUMES}[::-1], (1.0, 1.0, 2.5))")["average-surface-distance"]
    assert found.holds is holds


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("(one.sum() + other.sum()) / (one.size + other.size)", True),
        ("one.sum() / other.sum()", False),
        ("2 * (one.sum() + other.sum()) / (one.size + other.size)", False),
    ],
)
def test_a_surface_dice(define: Callable[..., Any], body: str, holds: bool) -> None:
    source = f"{SURFACE}def surface_dice(a, b, spacing, tolerance=1.0):\n"
    source += f"    one, other = {ONE} <= tolerance, {OTHER} <= tolerance\n    return {body}"
    found = define(source, f"surface_dice({VOLUMES}, {VOLUMES}[::-1], (1.0, 1.0, 1.0))")["surface-dice"]
    assert found.holds is holds
