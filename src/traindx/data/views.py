"""One 2-D view of an item of the store, read again from its file: what the pictures of a report are made of."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traindx.data import read_dicom, read_images, read_volumes
from traindx.data.audit.context import AuditRoom
from traindx.data.read_arrays import load_items

COLUMNS = "path, item, key, kind, p01, p99, vmin, vmax"
"""Columns of ``items`` that a view is made from."""

Place = tuple[str, int, str]
Row = tuple[Any, ...]


def views(ctx: AuditRoom, rows: Iterable[Row], *, masks: bool = False) -> dict[Place, NDArray[np.float32]]:
    """One 2-D view of each item, in [0, 1]: the image, or the middle slice of a volume; without those that fail now."""
    found: dict[Place, NDArray[np.float32]] = {}
    together: dict[tuple[str, str, str], list[Row]] = defaultdict(list)
    for row in rows:
        together[row[0], row[2], row[3]].append(row)
    for (path, key, kind), members in together.items():
        file = os.path.join(ctx.root, path) if path != "." else ctx.root
        by_item = {row[1]: row for row in members}
        try:
            for item, array in _arrays(file, key, kind, sorted(by_item)):
                _, _, _, _, p01, p99, vmin, vmax = by_item[item]
                low, high = (vmin, vmax) if masks or p99 <= p01 else (p01, p99)
                flat = array
                while flat.ndim > 2:
                    flat = flat[flat.shape[0] // 2]
                if flat.ndim == 2:
                    found[path, item, key] = window(np.asarray(flat, np.float32), low, high)
        except Exception:  # it could be read a moment ago; a picture is not worth a failure
            continue
    return found


def _arrays(file: str, key: str, kind: str, wanted: list[int]) -> Iterator[tuple[int, NDArray[Any]]]:
    """Items of a file, slowest axis first."""
    if kind == "array":
        yield from load_items(file, key, wanted)
    elif kind == "dicom":
        header, array = read_dicom.load(file)
        array = array[..., 0] if header.samples > 1 else array
        yield -1, array * np.float32(header.slope or 1.0) + np.float32(header.intercept or 0.0)
    elif kind == "nifti":
        import nibabel as nib

        proxy = nib.load(file).dataobj
        middle = (
            slice(None),
            slice(None),
            *(size // 2 if axis == 0 else 0 for axis, size in enumerate(proxy.shape[2:])),
        )
        yield -1, np.asanyarray(proxy[middle]).transpose()  # one slice, rescaled; never the whole
    elif kind == "volume":
        array = read_volumes.load(file)[0]
        yield -1, (array.reshape(*array.shape[:3], -1)[..., 0] if array.ndim > 3 else array).transpose()
    else:
        yield -1, read_images.load(file)[0]


def window(array: NDArray[np.float32], low: float, high: float) -> NDArray[np.float32]:
    """Values between two limits as [0, 1]; NaN is black."""
    scaled = (array - low) / (high - low) if high > low else np.full_like(array, 0.5)
    return np.clip(np.nan_to_num(scaled), 0.0, 1.0).astype(np.float32)


def fit(array: NDArray[np.float32], side: int) -> NDArray[np.float32]:
    """Fit into a black square by nearest neighbour, keeping the aspect."""
    height, width = array.shape
    scale = side / max(height, width)
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    small = array[np.arange(rows) * height // rows][:, np.arange(columns) * width // columns]
    square = np.zeros((side, side), np.float32)
    top, left = (side - rows) // 2, (side - columns) // 2
    square[top : top + rows, left : left + columns] = small
    return square
