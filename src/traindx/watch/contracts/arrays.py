"""Functions of array libraries: sizes, ranges, labels. Arguments are numpy arrays and pictures of Pillow."""

from __future__ import annotations

import sys
from typing import Any

from traindx.watch.contracts import mirrors
from traindx.watch.contracts.base import IN_ORDER, Broken, Check, Given, Said

COLOURS = 3
LEAST_SIDE = 16  # pixels of an image
LONGER = 1.08  # ratio of two sides from which their order can be told
NEAR = 1.02  # ratio of two proportions that are the same
FEW_LABELS, LARGEST_LABEL = 32, 64
TOO_WIDE = 20.0  # times the images' own span; a dark slice stays below in most cases
TOO_NARROW = 1.5


def _shape(value: Any) -> tuple[int, ...]:
    """Rows, columns and what follows."""
    shape = getattr(value, "shape", None)
    if isinstance(shape, tuple):
        return shape
    size = getattr(value, "size", None)  # of Pillow: columns, rows
    return (size[1], size[0]) if isinstance(size, tuple) else ()


def _sides(source: tuple[int, ...], rows: Any, columns: Any) -> Said:
    if len(source) < 2 or min(source[:2]) < LEAST_SIDE:
        return None
    rows, columns = int(rows), int(columns)
    if rows < LEAST_SIDE or columns < LEAST_SIDE:
        return None
    own, wanted = source[0] / source[1], rows / columns
    if 1 / LONGER < own < LONGER or 1 / LONGER < wanted < LONGER:
        return None
    if 1 / NEAR < wanted / own < NEAR:
        return IN_ORDER
    if not 1 / NEAR < wanted * own < NEAR:
        return None
    return Broken(
        f"an image of {source[0]} rows and {source[1]} columns and a size that makes {rows} rows and {columns} "
        "columns of it"
    )


def columns_first(given: Given) -> Said:
    """OpenCV and Pillow."""
    image = given.named.get("image")
    size = given.named.get("size")
    if not isinstance(size, tuple | list) or len(size) != 2:
        return None
    return _sides(_shape(image), size[1], size[0])


def rows_first(given: Given) -> Said:
    """scikit-image."""
    size = given.named.get("output_shape")
    if not isinstance(size, tuple | list) or len(size) < 2:
        return None
    shape = _shape(given.named.get("image"))
    return _sides(shape, size[0], size[1]) if len(shape) == 2 or (len(shape) == 3 and shape[2] <= 4) else None


def labels_kept(given: Given) -> Said:
    """Labels are numbers of their own."""
    numpy = sys.modules["numpy"]
    image: Any = given.named.get("image")
    out = given.out
    if getattr(getattr(image, "dtype", None), "kind", "") not in ("i", "u"):
        return None
    if given.named.get("preserve_range"):
        return IN_ORDER
    values = numpy.unique(image.reshape(-1)[:: max(1, image.size // 16384)])
    if not 2 <= len(values) <= FEW_LABELS or values[0] < 0 or values[-1] > LARGEST_LABEL:
        return None
    high = float(numpy.max(out)) if getattr(out, "size", 0) else 1.0
    if high >= 0.5:
        return IN_ORDER
    return Broken(f"labels up to {int(values[-1])} without preserve_range=True, and gives values up to {high:.2g}")


def score_range(given: Given) -> Said:
    """What the reference holds."""
    numpy = sys.modules["numpy"]
    image: Any = given.named.get("image_true")
    wanted: Any = given.named.get("data_range")
    if wanted is None or not hasattr(image, "dtype") or image.size < LEAST_SIDE:
        return None
    values = numpy.asarray(image).reshape(-1)[:: max(1, image.size // 16384)]
    low, high, wanted = float(values.min()), float(values.max()), float(wanted)
    span = high - low
    if span <= 0 or wanted <= 0:
        return None
    if wanted <= TOO_WIDE * max(span, abs(high)) and span <= TOO_NARROW * wanted:
        return IN_ORDER
    return Broken(f"data_range={wanted:g} with images from {low:.3g} to {high:.3g}")


def zoomed(given: Given) -> Said:
    """Colours stay what they are."""
    image, out = given.named.get("input"), given.out
    axis = _colours(_shape(image))
    if axis is None:
        return IN_ORDER if len(_shape(image)) in (2, 3) else None
    shape = _shape(out)
    if len(shape) != 3 or shape[axis] == COLOURS:
        return IN_ORDER
    return Broken(f"an image {_shape(image)} and makes {shape} of it, {shape[axis]} colours of {COLOURS}")


def rotated(given: Given) -> Said:
    """The plane of the image is turned."""
    axis, angle = _colours(_shape(given.named.get("input"))), given.named.get("angle")
    axes = given.named.get("axes", (1, 0))
    if axis is None or not isinstance(axes, tuple | list):
        return IN_ORDER if len(_shape(given.named.get("input"))) in (2, 3) else None
    if axis not in {one % 3 for one in axes} or float(angle or 0) % 180 == 0:
        return IN_ORDER
    return Broken(f"an image {_shape(given.named.get('input'))} to turn in the plane of axes {tuple(axes)}")


def _colours(shape: tuple[int, ...]) -> int | None:
    """The axis of the colours of an image, first or last."""
    if len(shape) != 3:
        return None
    for axis, others in ((2, shape[:2]), (0, shape[1:])):
        if shape[axis] == COLOURS and min(others) >= LEAST_SIDE:
            return axis
    return None


_ZOOM = ("input", "zoom", "output", "order")
_ROTATE = ("input", "angle", "axes")
_RESIZE = ("image", "output_shape", "order", "mode", "cval", "clip", "preserve_range")

BY_MODULE: dict[str, tuple[tuple[str, Check], ...]] = {
    "numpy": mirrors.OF_NUMPY,
    "scipy.ndimage": (
        ("zoom", Check("channels-resampled", ("scipy.ndimage.zoom",), _ZOOM, zoomed, after=True)),
        ("rotate", Check("channels-resampled", ("scipy.ndimage.rotate",), _ROTATE, rotated)),
    ),
    "skimage.transform": (
        ("resize", Check("label-map-rescaled", ("skimage.transform.resize",), _RESIZE, labels_kept, after=True)),
        ("resize", Check("size-exchanged", ("skimage.transform.resize",), _RESIZE, rows_first)),
    ),
    "skimage.metrics": (
        (
            "peak_signal_noise_ratio",
            Check("range-of-other-images", (), ("image_true", "image_test"), score_range),
        ),
        (
            "structural_similarity",
            Check("range-of-other-images", (), ("image_true", "image_test"), score_range),
        ),
    ),
    "cv2": (("resize", Check("size-exchanged", ("cv2.resize",), ("image", "size"), columns_first)),),
    "PIL.Image": (("Image.resize", Check("size-exchanged", ("PIL.Image.resize",), ("image", "size"), columns_first)),),
}
"""Checks by the module that is waited for, with the name of the function in it."""

RENAMED = {"src": "image", "dsize": "size", "im1": "image_true", "im2": "image_test", "self": "image", "m": "input"}
"""Names of arguments in one of these libraries that mean what others have another name for."""
