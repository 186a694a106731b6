"""Flips and quarter turns: which axes they act on, where images have an axis of channels before those of the image."""

from __future__ import annotations

import re
from typing import Any

from traindx.watch.contracts.base import IN_ORDER, Broken, Check, Given, Said
from traindx.watch.runtime.call_sites import here
from traindx.watch.runtime.source_text import line_text

CHANNELS = 4  # at the most, of an image; more may be slices or points in time
LEAST_SIDE = 16  # pixels of an image
OF_PLANE = re.compile(
    r"horiz|vertic|[hv]_?flip|flip_?(lr|ud|[hvxy]\b)|left_?right|up_?down|mirror|\btta", re.IGNORECASE
)
FIXED = {"fliplr": (1,), "flipud": (0,)}


def image_axes(shape: tuple[int, ...]) -> int | None:
    """The first axis of the plane of an image, or None where the shape is not plainly that of images.

    Args:
        shape: ``(H, W)``, ``(H, W, C)``, ``(C, H, W)``, ``(N, C, H, W)`` or ``(N, C, D, H, W)``.
    """
    for first in (2, 1, 0) if len(shape) > 2 else (0,):
        plane = shape[first:]
        if first == 0 and len(shape) == 3 and shape[2] <= CHANNELS:
            plane = shape[:2]
        channels = first == 0 or (len(shape) - first > 1 and shape[first - 1] <= CHANNELS)
        if len(plane) in ((2, 3) if first == 2 else (2,)) and min(plane) >= LEAST_SIDE and channels:
            return first
    return None


def _acted_on(given: Given) -> tuple[tuple[int, ...], set[int]] | None:
    """Shape of the image, and the axes that are mirrored or turned."""
    shape = tuple(getattr(given.named.get("input"), "shape", ()))
    if given.function in FIXED:
        axes: Any = FIXED[given.function]
    elif given.function == "rot90":
        turns = given.named.get("k", 1)
        axes = given.named.get("dims", given.named.get("axes", (0, 1)))
        if not _is_number(turns) or int(turns) % 4 == 0:
            return None
    else:
        axes = given.named.get("dims", given.named.get("axis"))
        if _is_number(axes):
            axes = (axes, *(given.named[name] for name in _MORE if name in given.named))
    if not shape or not isinstance(axes, tuple | list) or not all(_is_number(one) for one in axes) or not axes:
        return None
    return shape, {int(one) % len(shape) for one in axes}


def _is_number(value: Any) -> bool:
    return hasattr(value, "__index__") and getattr(value, "ndim", 0) == 0


def turned_in_plane(given: Given) -> Said:
    """The plane of the image is mirrored or turned, and not the channels or the samples.

    `flip` says nothing of a plane itself; there the line, or the function around it, must.
    """
    found = _acted_on(given)
    first = image_axes(found[0]) if found is not None else None
    if found is None or first is None:
        return None
    shape, axes = found
    outside = sorted(axis for axis in axes if axis < first)
    if not outside:
        return IN_ORDER
    if given.function == "flip" and not _says_plane():
        return None
    what = "the channels" if outside[-1] == first - 1 else "the samples"
    return Broken(f"images of shape {shape}, of which it acts on axis {outside[-1]}, that of {what}")


def mirrored_at_all(given: Given) -> Said:
    """Some axis that is mirrored has more than one entry."""
    found = _acted_on(given)
    first = image_axes(found[0]) if found is not None else None
    if found is None or not first:
        return None
    shape, axes = found
    if axes != {first - 1} or shape[first - 1] > 1:
        return IN_ORDER
    return Broken(f"images of shape {shape} to mirror along axis {first - 1}, which has one entry")


def _says_plane() -> bool:
    site = here()
    return site is not None and bool(OF_PLANE.search(f"{site.symbol} {line_text(site)}"))


_MORE = ("second", "third", "fourth")
TURNED, MIRRORED = "turned-along-the-channels", "mirrored-along-one-entry"
_NAMES = {
    "fliplr": ("input",),
    "flipud": ("input",),
    "rot90": ("input", "k", "dims"),
    "flip": ("input", "dims", *_MORE),
}
FUNCTIONS = (
    *(Check(TURNED, (name,), names, turned_in_plane) for name, names in _NAMES.items()),
    Check(MIRRORED, ("flip",), _NAMES["flip"], mirrored_at_all),
)
OF_NUMPY = (
    *((name, Check(TURNED, (f"numpy.{name}",), names, turned_in_plane)) for name, names in _NAMES.items()),
    ("flip", Check(MIRRORED, ("numpy.flip",), _NAMES["flip"], mirrored_at_all)),
)
