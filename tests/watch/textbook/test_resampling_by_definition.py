"""Resampling, crops, turns and windows by definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Define = Callable[..., Any]
IMAGE = "torch.rand(1, 1, 20, 26)"
VOLUME = "np.random.rand(16, 20, 24)"


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("F.interpolate(x, scale_factor=scale, mode='bilinear')", True),
        ("F.interpolate(x, scale_factor=scale, mode='nearest')", True),
        ("F.pad(F.interpolate(x, scale_factor=scale), (3, 3, 3, 3))", True),
        ("F.conv_transpose2d(x, torch.ones(1, 1, 2, 2, dtype=x.dtype) / 2, stride=2)", False),
        ("F.avg_pool2d(x, 2) * 4", False),
    ],
)
def test_constants(define: Define, body: str, holds: bool) -> None:
    source = f"def resize(x, scale=2.0):\n    return {body}"
    assert define(source, f"resize({IMAGE})")["constant-stays-constant"].holds is holds


def test_layers_that_learn_are_something_else(define: Define) -> None:
    source = "class Upsample(nn.Module):\n    def __init__(self):\n        super().__init__()\n"
    source += "        self.c = nn.Conv2d(1, 1, 3, padding=1)\n    def forward(self, x):\n        return self.c(x)"
    assert not define(source, f"Upsample()({IMAGE})")


@pytest.mark.parametrize(
    ("factor", "same", "axes"),
    [
        ("old / new", True, True),
        ("(old / new)[::-1]", True, True),
        ("new / old", True, False),
        ("old / new * 1.1", False, True),
        ("old[0] / new", True, False),
    ],
)
def test_spacings(define: Define, factor: str, same: bool, axes: bool) -> None:
    source = "from scipy import ndimage\ndef resample(volume, spacing, new_spacing):\n"
    source += (
        f"    old, new = np.array(spacing), np.array(new_spacing)\n    return ndimage.zoom(volume, {factor}, order=1)"
    )
    found = define(source, f"resample({VOLUME}, (1.0, 1.0, 1.0), (2.0, 1.0, 1.0))")
    assert found["scale-of-one"].holds is same
    assert found["spacing-of-each-axis"].holds is axes


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("F.interpolate(x, size=size, mode='bilinear', align_corners=False)", True),
        ("F.grid_sample(x, F.affine_grid(torch.eye(2, 3, dtype=x.dtype)[None], (1, 1, *size), align_corners=True), "
         "align_corners=True)", True),
        ("F.grid_sample(x, F.affine_grid(torch.eye(2, 3, dtype=x.dtype)[None], (1, 1, *size), align_corners=True), "
         "align_corners=False)", False),
        ("F.interpolate(x, size=size).roll(1, -1)", False),
    ],
)  # fmt: skip
def test_the_size_that_an_image_has(define: Define, body: str, holds: bool) -> None:
    assert (
        define(f"def resize(x, size):\n    return {body}", f"resize({IMAGE}, (10, 13))")["scale-of-one"].holds is holds
    )


@pytest.mark.parametrize(
    ("start", "holds"),
    [
        ("(n - size) // 2", True),
        ("n // 2 - size // 2", True),
        ("(n - size + 1) // 2", True),
        ("0", False),
        ("n // 2", False),
    ],
)
def test_central_crops(define: Define, start: str, holds: bool) -> None:
    source = f"def center_crop(x, size):\n    i, j = [{start} for n in x.shape[-2:]]\n"
    source += "    return x[..., i : i + size, j : j + size]"
    assert define(source, f"center_crop({IMAGE}, 9)")["central-crop"].holds is holds


TURN = """
def rotate(x, angle):
    a = math.radians(angle)
    m = torch.tensor([[math.cos(a), -math.sin(a), 0], [{}, math.cos(a), 0]], dtype=x.dtype)[None]
    return F.grid_sample(x, F.affine_grid(m, x.shape, align_corners=False), align_corners={})
"""


@pytest.mark.parametrize(
    ("entry", "corners", "holds"),
    [("math.sin(a)", False, True), ("math.sin(a)", True, False), ("math.cos(a)", False, False)],
)
def test_turns(define: Define, entry: str, corners: bool, holds: bool) -> None:
    assert define(TURN.format(entry, corners), f"rotate({IMAGE}, 30.0)")["turned-by-nothing"].holds is holds


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("x.flip(-1)", True),
        ("x.flip(-1).roll(1, -1)", True),
        ("x.flip(-1) * 2", False),
        ("x.rot90(2, (-1, -2))", True),
    ],
)  # fmt: skip
def test_flips(define: Define, body: str, holds: bool) -> None:
    assert define(f"def hflip(x):\n    return {body}", f"hflip({IMAGE})")["flipped-twice"].holds is holds


SLIDING = """
def sliding_window_inference(image, model, size=8, step=6):
    out, count = torch.zeros_like(image), torch.zeros_like(image)
    starts = lambda n: {}
    for i in starts(image.shape[-2]):
        for j in starts(image.shape[-1]):
            out[..., i : i + size, j : j + size] += model(image[..., i : i + size, j : j + size])
            count[..., i : i + size, j : j + size] += 1
    return out {}
"""


@pytest.mark.parametrize(
    ("starts", "end", "holds"),
    [
        ("[*range(0, n - size, step), n - size]", "/ count", True),
        ("range(0, n, step)", "/ count", True),
        ("[*range(0, n - size, step), n - size]", "", False),
        ("range(0, n - size + 1, step)", "/ count.clamp(min=1)", False),
        ("range(0, n - size + 1, step)", "/ count", False),
    ],
)
def test_windows(define: Define, starts: str, end: str, holds: bool) -> None:
    call = "sliding_window_inference(torch.rand(1, 1, 21, 26), nn.Conv2d(1, 1, 3, padding=1))"
    assert (
        define(SLIDING.format(starts, end), f"torch.no_grad()(lambda: {call})()")["inference-in-windows"].holds is holds
    )


@pytest.mark.parametrize(("channels", "told"), [(2, False), (1, True)])
def test_fields_that_grow_with_their_grid(define: Callable[..., Any], channels: int, told: bool) -> None:
    """A displacement in voxels is half as long on a grid of half as many; an image is not half as bright."""
    source = "def resize(x):\n    return 0.5 * F.interpolate(x, scale_factor=0.5, mode='bilinear')"
    found = define(source, f"resize(torch.rand(1, {channels}, 32, 32))")
    assert ("constant-stays-constant" in found) is told
    assert not told or not found["constant-stays-constant"].holds
