"""Grey values of one array in one pass: histogram, percentiles, thumbnail, digest.

Integer images, which is what scanners write, are counted value by value, so that every figure is exact and costs one
``bincount``. Floating-point volumes are sorted on a strided sample of at most 2^18 values; their extremes, their NaNs
and the values of their masks are exact.
"""

from __future__ import annotations

import hashlib
import json
import math
import zlib
from functools import lru_cache
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traindx.data.facts import Facts

THUMB = 32
"""Side of the thumbnail in pixels: enough to tell two radiographs apart, 1 kB a case."""

HU_EDGES = np.arange(-1100.0, 3151.0, 50.0)
"""Histogram edges for CT in HU; values beyond fall into the first and last bin."""

AIR_LIMIT = -1100.0
"""Below air: -1000 HU is vacuum by definition; 100 HU are left for noise and for scanners that floor at -1024."""

COLOUR_TOLERANCE = 8.0
"""Grey levels by which the channels of a grey JPEG may differ (chroma rounding leaves up to about 3)."""

_SAMPLE = 1 << 18
_SLAB = 1 << 22
_COUNTED = 1 << 20
"""Values counted at once: ``bincount`` makes eight bytes of each, beside the volume."""

_MAX_BINS = 1 << 17
_MAX_LABELS = 64


class Counted:
    """Values of an array with their number, sorted by value."""

    __slots__ = ("counts", "exact", "total", "values")

    def __init__(self, values: NDArray[Any], counts: NDArray[Any], *, exact: bool) -> None:
        self.values = values
        self.counts = counts
        self.total = int(counts.sum())
        self.exact = exact

    def rescaled(self, slope: float, intercept: float) -> Counted:
        """The same after ``value * slope + intercept``, still sorted by value."""
        if slope == 1 and intercept == 0:
            return self
        order = slice(None, None, 1 if slope > 0 else -1)
        return Counted((self.values * slope + intercept)[order], self.counts[order], exact=self.exact)

    def quantiles(self, levels: tuple[float, ...]) -> list[float]:
        """Values below which the given shares lie (nearest rank)."""
        cumulative = np.cumsum(self.counts)
        ranks = np.searchsorted(cumulative, np.asarray(levels) * self.total, side="left")
        return [float(value) for value in self.values[np.minimum(ranks, len(self.values) - 1)]]

    def share(self, selected: Any) -> float:
        """Share of the values that a mask over :attr:`values` selects."""
        return float(self.counts[selected].sum()) / max(self.total, 1)


def count(array: NDArray[Any]) -> tuple[Counted, int, float, float]:
    """Count the values of an array.

    Returns:
        The counted values (finite ones only), the number of NaN and infinite values, and the exact lowest and highest
        finite value.
    """
    if array.dtype.kind == "b":
        array = array.view(np.uint8)
    if array.dtype.kind in "ui":
        low, high = int(array.min()), int(array.max())
        if high - low < _MAX_BINS:
            bins = np.zeros(high - low + 1, np.int64)
            flat = _flat(array)
            # Differences from the lowest value, modulo the width of the type, are right as unsigned numbers.
            unsigned = np.dtype(f"u{array.dtype.itemsize}")
            lowest = array.dtype.type(low)
            for start in range(0, flat.size, _COUNTED):
                part = flat[start : start + _COUNTED]
                if part.dtype.byteorder not in "=|":
                    part = part.astype(part.dtype.newbyteorder("="))
                bins += np.bincount((part - lowest).view(unsigned), minlength=len(bins))
            present = np.flatnonzero(bins)
            return Counted((present + low).astype(np.float64), bins[present], exact=True), 0, float(low), float(high)
    flat = _flat(array)
    finite_low, finite_high, bad = np.inf, -np.inf, 0
    for start in range(0, flat.size, _SLAB):
        part = flat[start : start + _SLAB]
        good = np.isfinite(part)
        if not good.all():
            bad += int(good.size - np.count_nonzero(good))
            part = part[good]
        if part.size:
            finite_low, finite_high = min(finite_low, float(part.min())), max(finite_high, float(part.max()))
    if bad == flat.size:
        return Counted(np.zeros(1), np.ones(1, np.int64), exact=False), bad, 0.0, 0.0
    sample = flat[:: max(1, -(-flat.size // _SAMPLE))].astype(np.float64)
    sample = sample[np.isfinite(sample)]
    if not sample.size:
        sample = np.array([finite_low, finite_high])
    values, counts = np.unique(sample, return_counts=True)
    return Counted(values, counts, exact=sample.size == flat.size), bad, finite_low, finite_high


def _flat(array: NDArray[Any]) -> NDArray[Any]:
    """All values in the order of memory, which makes no copy of an array of either order."""
    return array.reshape(-1, order="F" if array.flags.f_contiguous else "C")


def measure(facts: Facts, array: NDArray[Any], *, slope: float = 1.0, intercept: float = 0.0) -> Counted:
    """Fill the grey-value fields of ``facts`` from the stored array; returns the counted values in rescaled units."""
    facts.voxels = int(array.size)
    facts.dtype = array.dtype.newbyteorder("=").name
    counted, facts.nonfinite, low, high = count(array)
    counted = counted.rescaled(slope, intercept)
    facts.vmin, facts.vmax = sorted((low * slope + intercept, high * slope + intercept))
    facts.p01, facts.p25, facts.p50, facts.p75, facts.p99 = counted.quantiles((0.01, 0.25, 0.50, 0.75, 0.99))
    facts.levels = len(counted.values)
    facts.at_min = float(counted.counts[0]) / counted.total
    facts.at_max = float(counted.counts[-1]) / counted.total
    if facts.vmax > 255:
        facts.above_255 = counted.share(counted.values > 255)
    if facts.vmin < AIR_LIMIT:
        below = counted.values < AIR_LIMIT
        facts.below_air = counted.share(below)
        if below.any():
            facts.below_value = float(counted.values[below][np.argmax(counted.counts[below])])
    return counted


def measure_window(facts: Facts, counted: Counted, padding: float | None) -> None:
    """Share of the pixels, padding excluded, inside the window that ``facts`` declares (DICOM PS3.3 C.11.2.1.2)."""
    if not facts.window_width > 0:
        return
    values, counts = counted.values, counted.counts
    if padding is not None and len(values) > 1:
        keep = values != padding
        values, counts = values[keep], counts[keep]
    low, high = facts.window_center - facts.window_width / 2, facts.window_center + facts.window_width / 2
    total = int(counts.sum())
    facts.window_inside = float(counts[(values >= low) & (values <= high)].sum()) / total if total else 1.0


def measure_labels(
    facts: Facts, array: NDArray[Any], counted: Counted, *, slope: float = 1.0, intercept: float = 0.0
) -> None:
    """Fill the fields of a mask: its values with their number of voxels (at most 64), and whether all are integers."""
    if not counted.exact:
        counted = _every_value(array).rescaled(slope, intercept)
    facts.levels = len(counted.values)
    facts.fractional = int(bool(np.any(counted.values != np.round(counted.values))))
    order = np.argsort(counted.counts)[::-1][:_MAX_LABELS]
    facts.label_values = json.dumps({f"{counted.values[i]:g}": int(counted.counts[i]) for i in sorted(order)})


def _every_value(array: NDArray[Any]) -> Counted:
    """The distinct finite values, slab by slab; those of the first slabs where there are more than 2^17."""
    values, counts = np.zeros(0), np.zeros(0, np.int64)
    flat = _flat(array)
    for start in range(0, flat.size, _SLAB):
        part = flat[start : start + _SLAB]
        found, number = np.unique(part[np.isfinite(part)], return_counts=True)
        both = np.concatenate((values, found.astype(np.float64)))
        values, where = np.unique(both, return_inverse=True)
        counts = np.bincount(where, weights=np.concatenate((counts, number))).astype(np.int64)
        if len(values) > _MAX_BINS:
            break
    if not len(values):
        values, counts = np.zeros(1), np.ones(1, np.int64)
    return Counted(values, counts, exact=True)


def looks_like_labels(array: NDArray[Any], counted: Counted) -> bool:
    """True where nothing but the content tells: at most eight small integers, 0 the most frequent."""
    values = counted.values
    return (
        array.dtype.kind in "uib"
        and 2 <= len(values) <= 8
        and values[0] == 0
        and values[-1] <= 255
        and int(np.argmax(counted.counts)) == 0
    )


def hu_histogram(counted: Counted) -> list[int]:
    """Counts over :data:`HU_EDGES`."""
    cumulative = np.zeros(len(counted.counts) + 1, np.int64)
    np.cumsum(counted.counts, out=cumulative[1:])
    edges = np.zeros(len(HU_EDGES), np.int64)
    edges[1:-1] = cumulative[np.searchsorted(counted.values, HU_EDGES[1:-1], side="left")]
    edges[-1] = cumulative[-1]
    binned: list[int] = (edges[1:] - edges[:-1]).tolist()
    return binned


def fingerprint(facts: Facts, array: NDArray[Any]) -> bytes:
    """Hash that is the same for the same pixels in every byte order and encoding.

    A CRC-32 of the pixels together with shape, percentiles and thumbnail: two images that share all of these and differ
    in a pixel meet in one of 2^32 cases, at a third of the time of a cryptographic hash.
    """
    native = array.dtype.newbyteorder("<")
    rows = max(1, _SLAB // max(1, math.prod(array.shape[1:])))
    check = 0
    for start in range(0, len(array), rows):  # in slabs: neither order of memory needs a second copy of the whole
        part = np.ascontiguousarray(array[start : start + rows], native)
        check = zlib.crc32(part.view(np.uint8).data if part.size else b"", check)
    values = (facts.vmin, facts.p01, facts.p25, facts.p50, facts.p75, facts.p99, facts.vmax)
    hasher = hashlib.blake2b(facts.thumb, digest_size=16)
    hasher.update(repr((array.shape, native.itemsize, facts.levels, values, check)).encode())
    return hasher.digest()


def grey(array: NDArray[Any]) -> tuple[NDArray[Any], bool]:
    """One grey image of channels (..., 3 or 4), and whether it has colours, in strips that need no second copy.

    Channels that differ by at most :data:`COLOUR_TOLERANCE` are one grey image; of others the mean is taken.
    """
    step = max(1, _SLAB // max(1, math.prod(array.shape[1:])))
    # Channel by channel: a reduction over an axis of length three takes five times as long.
    for start in range(0, len(array), step):
        first, second, third = (array[start : start + step, ..., channel] for channel in range(3))
        low = np.minimum(np.minimum(first, second), third)
        high = np.maximum(np.maximum(first, second), third)
        if float((high.astype(np.float32) - low).max(initial=0.0)) > COLOUR_TOLERANCE:
            break
    else:
        return np.ascontiguousarray(array[..., 0]), False
    mean = np.empty(array.shape[:-1], array.dtype)
    for start in range(0, len(array), step):
        part = array[start : start + step, ..., 0].astype(np.float32)
        part += array[start : start + step, ..., 1]
        part += array[start : start + step, ..., 2]
        part /= np.float32(3)
        mean[start : start + step] = np.round(part) if array.dtype.kind in "ui" else part
    return mean, True


def thumbnail(array: NDArray[Any], low: float, high: float) -> bytes:
    """32 x 32 block means of an image (H, W), or of the middle slice along the first axis of a volume, as uint8.

    Args:
        array: Stored values.
        low: Stored value shown as 0 (1st percentile).
        high: Stored value shown as 255 (99th percentile).
    """
    return to_bytes(flat_thumbnail(array), low, high)


def flat_thumbnail(array: NDArray[Any]) -> NDArray[np.float32]:
    """The block means themselves, shape (32, 32), stored units."""
    while array.ndim > 2:
        array = array[array.shape[0] // 2]
    if array.ndim < 2:
        array = array.reshape(1, -1)
    height, width = array.shape
    if height % THUMB == 0 and width % THUMB == 0 and array.dtype.kind in "ui" and array.dtype.itemsize <= 2:
        rows = array.reshape(THUMB, height // THUMB, width).sum(axis=1, dtype=np.int32)
        sums = rows.reshape(THUMB, THUMB, width // THUMB).sum(axis=2)
        return np.asarray(sums / (height * width / THUMB**2), np.float32)
    if min(height, width) >= THUMB and array.dtype.kind in "ui" and height * width <= _SLAB:
        # One order of memory, whatever the file's, so that the same pixels give the same sums to the last bit.
        return (_means(height) @ np.ascontiguousarray(array, np.float32)) @ _means(width).T
    array = array.astype(np.float32)
    for axis, size in ((0, height), (1, width)):
        if size < THUMB:
            array = np.take(array, np.arange(THUMB) * size // THUMB, axis=axis)
        else:
            edges = np.arange(THUMB) * size // THUMB
            lengths = np.diff(np.append(edges, size)).astype(np.float32)
            array = np.add.reduceat(array, edges, axis=axis) / (lengths[:, None] if axis == 0 else lengths)
    return np.asarray(array, np.float32)


@lru_cache(maxsize=64)
def _means(size: int) -> NDArray[np.float32]:
    """Matrix (32, size) of block means along one axis: several times as fast as ``reduceat``, but NaN would spread."""
    edges = np.arange(THUMB + 1) * size // THUMB
    made = np.zeros((THUMB, size), np.float32)
    for row, (start, stop) in enumerate(pairwise(edges)):
        made[row, start:stop] = 1 / (stop - start)
    return made


def to_bytes(thumb: NDArray[np.float32], low: float, high: float) -> bytes:
    """Thumbnail values between two limits as uint8."""
    if not high > low:
        return bytes(THUMB * THUMB)
    scaled = (thumb - np.float32(low)) * np.float32(255.0 / (high - low))
    # NaN is black: fmax takes the number
    limited: NDArray[np.float32] = np.minimum(np.fmax(scaled, np.float32(0)), np.float32(255))
    return limited.astype(np.uint8).tobytes()
