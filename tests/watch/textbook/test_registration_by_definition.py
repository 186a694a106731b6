"""Registration by definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Define = Callable[..., Any]
WARP = """
class SpatialTransformer(nn.Module):
    def forward(self, src, flow):
        shape = src.shape[2:]
        grid = torch.stack(torch.meshgrid(*[torch.arange(0, s).to(src.dtype) for s in shape], indexing="ij"))[None]
        new = grid {sign} flow
        new = torch.stack([{scale} for i in range(len(shape))], 1)
        new = new.movedim(1, -1){flip}
        return F.grid_sample(src, new, align_corners={corners}, padding_mode="border")
"""
GOOD = {"sign": "+", "scale": "2 * (new[:, i] / (shape[i] - 1) - 0.5)", "flip": ".flip(-1)", "corners": True}
VOLUME = "SpatialTransformer()(torch.rand(1, 1, 12, 14, 17), torch.rand(1, 3, 12, 14, 17) - 0.5)"
SLICE = "SpatialTransformer()(torch.rand(2, 3, 16, 24), torch.randn(2, 2, 16, 24))"


@pytest.mark.parametrize("call", [VOLUME, SLICE])
@pytest.mark.parametrize(
    ("change", "holds"),
    [
        ({}, True),
        ({"sign": "-"}, True),
        ({"scale": "(2 * new[:, i] + 1) / shape[i] - 1", "corners": False}, True),
        ({"corners": False}, False),
        ({"flip": ""}, False),
        ({"scale": "2 * (new[:, i] / shape[i] - 0.5)"}, False),
        ({"sign": "* 1.05 +"}, False),
        ({"scale": "2 * (new[:, i] / (shape[0] - 1) - 0.5)"}, False),
        ({"sign": "+ 2.5 *"}, False),
    ],
)
def test_warps(define: Define, change: dict[str, Any], holds: bool, call: str) -> None:
    found = define(WARP.format(**{**GOOD, **change}), call)["warp-by-nothing"]
    assert found.holds is holds, found


def test_a_field_in_parts_of_the_image(define: Define) -> None:
    source = """
def warp(image, flow):
    theta = torch.eye(2, 3, dtype=image.dtype)[None].expand(len(image), -1, -1)
    grid = F.affine_grid(theta, image.shape, align_corners={})
    return F.grid_sample(image, grid + flow.permute(0, 2, 3, 1), align_corners={}, padding_mode="border")
"""
    call = "warp(torch.rand(2, 3, 16, 24), torch.randn(2, 2, 16, 24) / 10)"
    assert define(source.format(True, True), call)["warp-by-nothing"].holds
    assert define(source.format(False, False), call)["warp-by-nothing"].holds
    assert not define(source.format(False, True), call)["warp-by-nothing"].holds


def test_a_grid_of_places_is_no_displacement(define: Define) -> None:
    source = "def warp(image, grid):\n    return F.grid_sample(image, grid.permute(0, 2, 3, 1), align_corners=True)"
    grid = "torch.stack(torch.meshgrid(*[torch.linspace(-1, 1, 9)] * 2, indexing='xy'))[None]"
    assert not define(source, f"warp(torch.rand(1, 1, 9, 9), {grid})")


VECINT = (
    WARP.format(**GOOD)
    + """
def vecint(vec):
    vec = vec * {}
    for _ in range(4):
        vec = vec + {}
    return vec
"""
)


@pytest.mark.parametrize(
    ("scale", "step", "holds"),
    [
        ("2 ** -4", "SpatialTransformer()(vec, vec)", True),
        ("0.25", "SpatialTransformer()(vec, vec)", False),
        ("2 ** -4", "vec * 0.5", False),
        ("2 ** -4", "SpatialTransformer()(vec, vec) + 0.01", False),
    ],
)
def test_integrals(define: Define, scale: str, step: str, holds: bool) -> None:
    source = VECINT.format(scale, step)
    assert define(source, "vecint(torch.randn(1, 2, 16, 20))")["integral-of-a-velocity"].holds is holds


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("v + SpatialTransformer()(u, v)", True),
        ("SpatialTransformer()(u, v)", False),
        ("v - SpatialTransformer()(u, v)", False),
    ],
)
def test_compositions(define: Define, body: str, holds: bool) -> None:
    source = WARP.format(**GOOD) + f"\ndef compose_flows(u, v):\n    return {body}"
    call = "compose_flows(torch.randn(1, 2, 16, 20), torch.randn(1, 2, 16, 20))"
    assert define(source, call)["fields-put-together"].holds is holds


JACOBIAN = """
def jacobian_determinant(disp):
    j = torch.stack([torch.stack(torch.gradient(disp[i]), -1) for i in range(2)], -2)
    j = j + {} * torch.eye(2, dtype=disp.dtype)
    return j[..., 0, 0] * j[..., 1, 1] {} j[..., 0, 1] * j[..., 1, 0]
"""


@pytest.mark.parametrize(("one", "sign", "holds"), [("1", "-", True), ("2", "-", False), ("1", "- 2 *", True)])
def test_determinants(define: Define, one: str, sign: str, holds: bool) -> None:
    found = define(JACOBIAN.format(one, sign), "jacobian_determinant(torch.randn(2, 16, 20))")
    assert found["determinant-where-nothing-moves"].holds is holds


def test_a_determinant_of_places(define: Define) -> None:
    assert "determinant-where-nothing-moves" not in define(
        JACOBIAN.format("0", "-"), "jacobian_determinant(torch.randn(2, 16, 20))"
    )


def test_a_determinant_of_sums(define: Define) -> None:
    source = JACOBIAN.format("1", "-").replace("j[..., 0, 1] * j[..., 1, 0]", "(j[..., 0, 1] + j[..., 1, 0])")
    found = define(source, "jacobian_determinant(torch.randn(2, 16, 20))")["determinant-where-nothing-moves"]
    assert not found.holds


PAIR = "(torch.rand(2, 1, 20, 20), torch.rand(2, 1, 20, 20))"


@pytest.mark.parametrize(
    ("name", "body", "holds"),
    [
        ("ncc", "(a0 * b0).mean() / (a0.square().mean() * b0.square().mean()).sqrt()", True),
        ("ncc_loss", "1 - (a0 * b0).mean() / (a0.square().mean() * b0.square().mean()).sqrt()", True),
        ("ncc_loss", "-((a0 * b0).mean() ** 2) / (a0.square().mean() * b0.square().mean())", True),
        ("ncc_loss", "(a0 * b0).mean() / (a0.square().mean() * b0.square().mean()).sqrt()", False),
        ("ncc", "(a0 * b0).mean() / (a0.square().mean() * b0.square().mean())", False),
        ("ncc", "(a0 * b0).mean() / a0.square().mean()", False),
    ],
)
def test_correlations(define: Define, name: str, body: str, holds: bool) -> None:
    source = f"def {name}(a, b):\n    a0, b0 = a - a.mean(), b - b.mean()\n    return {body}"
    assert define(source, name + PAIR)["likeness-of-an-image-with-itself"].holds is holds


@pytest.mark.parametrize(
    ("name", "body", "holds"),
    [
        ("mutual_information", "(p * (p / (p.sum(1, keepdims=True) * p.sum(0) + 1e-12) + 1e-12).log()).sum()", True),
        ("mi_loss", "-(p * (p / (p.sum(1, keepdims=True) * p.sum(0) + 1e-12) + 1e-12).log()).sum()", True),
        ("mi_loss", "(p * (p / (p.sum(1, keepdims=True) * p.sum(0) + 1e-12) + 1e-12).log()).sum()", False),
        ("mutual_information", "-(p.sum(0) * (p.sum(0) + 1e-12).log()).sum()", False),
    ],
)
def test_information(define: Define, name: str, body: str, holds: bool) -> None:
    source = f"def {name}(a, b):\n    i = (a.flatten() * 7.99).long() * 8 + (b.flatten() * 7.99).long()\n"
    source += f"    p = torch.bincount(i, minlength=64).double().view(8, 8) / i.numel()\n    return {body}"
    assert define(source, name + PAIR)["information-of-an-image-about-itself"].holds is holds
