"""Landmarks and projections by definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Define = Callable[..., Any]
DRAW = """
def generate_heatmap(point, size, sigma=2.0):
    rows, columns = torch.meshgrid(torch.arange(size[0]), torch.arange(size[1]), indexing="ij")
    return torch.exp(-({} + {}) / (2 * sigma ** 2))
"""


@pytest.mark.parametrize(
    ("one", "other", "holds"),
    [
        ("(columns - point[0]) ** 2", "(rows - point[1]) ** 2", True),
        ("(columns - point[1]) ** 2", "(rows - point[0]) ** 2", True),
        ("(columns - point[0] / 4) ** 2", "(rows - point[1] / 4) ** 2", None),
        ("(columns - point[0]) ** 2", "(rows - point[0]) ** 2", False),
        ("(columns + point[0]) ** 2", "(rows - point[1]) ** 2", False),
        ("-(columns - point[0]) ** 2", "-(rows - point[1]) ** 2", False),
    ],
)
@pytest.mark.parametrize("point", ["torch.tensor([12.0, 9.0])", "[12, 9]", "(12.0, 9.0)"])
def test_heat_maps(define: Define, one: str, other: str, holds: bool | None, point: str) -> None:
    if holds is None:  # a map of a quarter of the image, which the script's own places tell
        holds, point = True, point.replace("12", "100")
    found = define(DRAW.format(one, other), f"generate_heatmap({point}, (24, 32))")["peak-at-the-landmark"]
    assert found.holds is holds


READ = """
def soft_argmax(heat):
    b, c, h, w = heat.shape
    p = heat.flatten(2).{}.view(b, c, h, w)
    y = (p.sum(3) * torch.arange(h)).sum(2)
    x = (p.sum(2) * torch.arange(w)).sum(2)
    return torch.stack([{}], -1)
"""


@pytest.mark.parametrize(
    ("scale", "place", "holds"),
    [
        ("softmax(2)", "x, y", True),
        ("softmax(2)", "y, x", True),
        ("softmax(2)", "2 * x / (w - 1) - 1, 2 * y / (h - 1) - 1", True),
        ("softmax(2)", "x, x", False),
        ("softmax(2)", "x / h, y / w", False),
        ("softmax(2)", "x + y, y", False),
        ("softmax(1)", "x, y", False),
    ],
)
def test_places_of_peaks(define: Define, scale: str, place: str, holds: bool) -> None:
    source = READ.format(scale, place)
    assert define(source, "soft_argmax(torch.rand(2, 3, 24, 32))")["place-of-a-peak"].holds is holds


@pytest.mark.parametrize(("row", "column", "holds"), [("i // w", "i % w", True), ("i // h", "i % h", False)])
def test_places_of_the_largest_value(define: Define, row: str, column: str, holds: bool) -> None:
    source = (
        f"def decode_heatmap(heat):\n    h, w = heat.shape\n    i = int(heat.argmax())\n    return ({column}, {row})"
    )
    assert define(source, "decode_heatmap(torch.rand(24, 32))")["place-of-a-peak"].holds is holds


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("volume.sum(2)", True),
        ("torch.exp(-volume.sum(2) / 9)", True),
        ("1 - torch.exp(-volume.mean(3))", True),
        ("torch.exp(-volume).cumprod(2)[:, :, -1]", True),
        ("volume[:, :, 0]", False),
        ("(volume - volume.mean()).sum(2)", None),
    ],
)
def test_projections(define: Define, body: str, holds: bool | None) -> None:
    found = define(f"def project_volume(volume):\n    return {body}", "project_volume(torch.rand(1, 1, 12, 14, 16))")
    record = found.get("density-and-its-shadow")
    assert (record.holds if record else None) is holds


def test_heads_that_project_are_something_else(define: Define) -> None:
    source = "class Projection(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    source += "        self.w = nn.Linear(16, 2)\n    def forward(self, x):\n        return self.w(x)"
    assert not define(source, "Projection()(torch.rand(1, 1, 12, 14, 16))")


@pytest.mark.parametrize(("body", "holds"), [("v.max(0)", True), ("v.mean(0)", False), ("v.max(0) + v.mean()", False)])
def test_maxima(define: Define, body: str, holds: bool) -> None:
    assert (
        define(f"def mip(v):\n    return {body}", "mip(np.random.rand(12, 14, 16))")["maximum-along-rays"].holds
        is holds
    )
