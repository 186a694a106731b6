"""Masks by definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Define = Callable[..., Any]
MASK = "(np.random.rand(40, 44) > 0.6).astype('uint8')"
LABEL = """
from scipy import ndimage

def {}(mask):
    labels, count = ndimage.label(mask)
    sizes = np.bincount(labels.ravel())
    {}
"""


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("sizes[0] = 0\n    return labels == sizes.argmax()", True),
        ("return (labels == sizes[1:].argmax() + 1).astype(np.uint8) * 255", True),
        ("return labels == sizes.argmax()", False),
        ("return labels == sizes[1:].argmax()", False),
        ("return labels == 1", False),
        ("return mask", False),
    ],
)
def test_the_largest_component(define: Define, body: str, holds: bool) -> None:
    source = LABEL.format("keep_largest", body)
    assert define(source, f"keep_largest({MASK})")["largest-component-is-kept"].holds is holds


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("return ndimage.binary_fill_holes(mask)", True),
        ("return mask", False),
        ("return np.ones_like(mask)", False),
    ],
)
@pytest.mark.parametrize("given", [MASK, "torch.ones(1, 16, 30, 30).bool()"])
def test_holes(define: Define, body: str, holds: bool, given: str) -> None:
    source = LABEL.format("fill_holes", body).replace("label(mask)", "label(np.asarray(mask))")
    source = source.replace(
        "return ndimage.binary_fill_holes(mask)", "return ndimage.binary_fill_holes(np.squeeze(mask))"
    )
    source = source.replace("np.ones_like(mask)", "np.ones(mask.shape)")
    assert define(source, f"fill_holes({given})")["holes-are-filled"].holds is holds


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("inner - outer", True),
        ("outer - inner", True),
        ("outer / outer.max() - inner / inner.max()", True),
        ("inner + outer", False),
        ("(inner > 0).astype(float) * 2 - 1", False),
        ("inner", False),
    ],
)
def test_signed_distances(define: Define, body: str, holds: bool) -> None:
    source = "from scipy.ndimage import distance_transform_edt as edt\ndef compute_sdf(mask):\n"
    source += f"    inner, outer = edt(mask), edt(1 - mask)\n    return {body}"
    assert define(source, f"compute_sdf({MASK})")["signs-of-a-distance"].holds is holds


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("mask - ndimage.binary_erosion(mask)", True),
        ("ndimage.binary_dilation(mask, iterations=2) ^ ndimage.binary_erosion(mask, iterations=2)", True),
        ("ndimage.binary_erosion(mask)", False),
        ("1 - mask", False),
    ],
)
def test_boundaries(define: Define, body: str, holds: bool) -> None:
    source = f"from scipy import ndimage\ndef mask_to_boundary(mask):\n    return {body}"
    assert define(source, f"mask_to_boundary({MASK})")["boundary-of-a-mask"].holds is holds


LABELS = "torch.arange(2 * 6 * 8).reshape(2, 6, 8) % 4"


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        ("F.one_hot(x, 4)", True),
        ("F.one_hot(x, 4).permute(0, 3, 1, 2).float()", True),
        ("torch.stack([x == c for c in range(4)], 1)", True),
        ("torch.zeros(2, 4, 6, 8).scatter_(1, x[:, None], 1)", True),
        ("F.one_hot(x, 4).float() * 0.9 + 0.025", True),
        ("np.eye(6)[x.numpy()]", True),
        ("F.one_hot(x, 4).view(2, 4, 6, 8)", False),
        ("torch.stack([x > c for c in range(4)], 1)", False),
        ("F.one_hot((x + 1) % 4, 4)", False),
    ],
)
def test_one_hot(define: Define, body: str, holds: bool) -> None:
    assert define(f"def one_hot(x):\n    return {body}", f"one_hot({LABELS})")["one-hot-code"].holds is holds


def test_labels_that_are_numbered_otherwise(define: Define) -> None:
    source = "def to_one_hot(x):\n    return np.stack([x == v for v in {}])"
    assert define(source.format("(0, 1, 2, 4)"), "to_one_hot(np.array([0, 1, 2, 4] * 8))")["one-hot-code"].holds
    assert not define(source.format("(1, 2, 4)"), "to_one_hot(np.array([0, 1, 2, 4] * 8))")  # no code of its own for 0


RLE = """
def rle_encode(mask):
    pixels = np.concatenate([[0], {}, [0]])
    runs = np.where(pixels[1:] != pixels[:-1])[0] + 1
    {}
    return {}
"""


@pytest.mark.parametrize(
    ("flat", "step", "given", "holds"),
    [
        ("mask.flatten()", "runs[1::2] -= runs[::2]", "' '.join(str(x) for x in runs)", True),
        ("mask.T.flatten()", "runs[1::2] -= runs[::2]", "runs.tolist()", True),
        ("mask.flatten()", "runs[1::2] = runs[1::2] - runs[:-1:2] - 1", "' '.join(str(x) for x in runs)", False),
        ("mask.flatten()", "pass", "' '.join(str(x) for x in runs)", False),
        ("mask.flatten()[1:-1]", "runs[1::2] -= runs[::2]", "runs.tolist()", False),
    ],
)
def test_runs(define: Define, flat: str, step: str, given: str, holds: bool) -> None:
    assert define(RLE.format(flat, step, given), f"rle_encode({MASK})")["lengths-of-runs"].holds is holds


@pytest.mark.parametrize(("start", "holds"), [("s - 1", True), ("s", True), ("s - 3", False)])
@pytest.mark.parametrize("length", ["n", "n + 1"])
def test_masks_of_runs(define: Define, start: str, holds: bool, length: str) -> None:
    source = (
        "def rle_decode(rle, shape):\n    numbers = [int(x) for x in rle.split()]\n    mask = np.zeros(shape).ravel()\n"
    )
    source += f"    for s, n in zip(numbers[::2], numbers[1::2]):\n        mask[{start} : {start} + {length}] = 1\n"
    found = define(source + "    return mask.reshape(shape)", "rle_decode('3 2', (10, 12))")["mask-of-runs"]
    assert found.holds is (holds and length == "n")
