"""One HDF5 (``.h5``, ``.hdf5``) or MATLAB file (``.mat``): every array of numbers with two axes or more.

Arrays are stacks of cases where another array has an entry for each of their first axis, as in an ``.npz``. Soft and
external links of HDF5, which can lead to other files, are not followed; nothing in a MATLAB file is executed.
"""

from __future__ import annotations

import math
import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traindx.data import limits
from traindx.data.facts import Facts
from traindx.data.names import MASK_WORDS, Names, words
from traindx.data.read_arrays import SMALL, Companions, pictures_of
from traindx.data.reading import NotAnImageError, NotReadError, UnreadableError, reason_of

_MOST_SETS = 10_000


def read(path: str, name: str, names: Names) -> Iterator[Facts]:
    """Facts of every image and mask in the file.

    Args:
        path: The file.
        name: Its path relative to the data folder.
        names: What the name says.

    Raises:
        NotAnImageError: No array in it looks like an image.
        NotReadError: h5py is not installed, or an array is larger than one image may be.
        UnreadableError: The file is damaged.
    """
    try:
        with open(path, "rb") as stream:
            head = stream.read(128)
        if head.startswith(b"MATLAB") and b"MATLAB 7.3" not in head[:20]:
            yield from _matlab(path, name, names)
        else:
            yield from _hdf5(path, name, names)
    except (NotAnImageError, NotReadError, UnreadableError, FileNotFoundError, MemoryError):
        raise
    except Exception as error:
        raise UnreadableError(f"{type(error).__name__}: {reason_of(error)}") from None


def _hdf5(path: str, name: str, names: Names) -> Iterator[Facts]:
    try:
        import h5py
    except ImportError:
        raise NotReadError("HDF5 needs h5py: pip install h5py") from None
    with h5py.File(path, "r") as file:
        sets: dict[str, Any] = {}

        def look(key: str, found: Any) -> bool | None:
            if isinstance(found, h5py.Dataset) and found.external is None and not found.is_virtual:
                sets[key] = found
            return True if len(sets) >= _MOST_SETS else None  # anything but None ends the visit

        file.visititems(look)
        vectors = {
            key.lower(): _vector(found)
            for key, found in sets.items()
            if len(found.shape or ()) < 2 and math.prod(found.shape or (1,)) <= SMALL and found.dtype.kind in "uifbSO"
        }
        shapes = {key: tuple(found.shape) for key, found in sets.items() if _is_picture(found.shape, found.dtype.kind)}
        yield from _each(
            shapes, {key: sets[key].dtype for key in shapes}, vectors, lambda key, item: sets[key][item], name, names
        )


def _vector(found: Any) -> NDArray[Any]:
    value = found[()]
    if getattr(found.dtype, "kind", "") in "SO":  # text comes as bytes
        flat = [part.decode("utf-8", "replace") if isinstance(part, bytes) else str(part) for part in np.ravel(value)]
        return np.asarray(flat).reshape(np.shape(value))
    return np.asarray(value)


def _matlab(path: str, name: str, names: Names) -> Iterator[Facts]:
    from scipy import io

    found = {key: (tuple(shape), kind) for key, shape, kind in io.whosmat(path)}
    widths = {
        "double": "f8", "single": "f4", "logical": "u1", **{f"int{n}": f"i{n // 8}" for n in (8, 16, 32, 64)},
        **{f"uint{n}": f"u{n // 8}" for n in (8, 16, 32, 64)},
    }  # fmt: skip
    types = {key: np.dtype(widths[kind]) for key, (_, kind) in found.items() if kind in widths}
    shapes = {key: found[key][0] for key in types if _is_picture(found[key][0], types[key].kind)}
    size = os.path.getsize(path)
    for key, shape in shapes.items():
        limits.check(shape, types[key].itemsize, stored=size, ratio=limits.DEFLATE)

    def values(key: str, item: Any) -> NDArray[Any]:
        array: NDArray[Any] = np.asarray(io.loadmat(path, variable_names=[key])[key])
        return array if item == () else np.asarray(array[item])

    yield from _each(shapes, types, {}, values, name, names)


def _is_picture(shape: tuple[int, ...] | None, kind: str) -> bool:
    return shape is not None and len(shape) >= 2 and min(shape[-2:]) > 1 and kind in "uifb"


def _each(
    shapes: dict[str, tuple[int, ...]],
    types: dict[str, Any],
    vectors: dict[str, NDArray[Any]],
    values: Any,
    name: str,
    names: Names,
) -> Iterator[Facts]:
    if not shapes:
        raise NotAnImageError("no array of numbers with two axes")
    lengths = {len(vector) for vector in vectors.values() if vector.ndim}
    roles = {("mask" if MASK_WORDS.intersection(words(key)) else "image") for key in shapes}
    for key, shape in shapes.items():
        stacked = len(shape) >= 3 and shape[0] in lengths and (shape[0] > 3 or "ids" in vectors)
        count = shape[0] if stacked else 0
        limits.check(shape[1:] if stacked else shape, np.dtype(types[key]).itemsize)
        items = (
            ((item, np.asarray(values(key, item))) for item in range(count))
            if count
            else iter([(0, np.asarray(values(key, ())))])
        )
        yield from pictures_of(items, key, name, names, Companions(vectors, count), scope=len(roles) > 1)
