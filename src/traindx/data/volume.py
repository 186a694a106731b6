"""Facts of one volume, whatever file it comes from: axes (x, y, z, ...), stored values, slope and intercept."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from traindx.data import geometry, pixels
from traindx.data.facts import Facts
from traindx.data.names import Names


def begin(path: str, kind: str, names: Names) -> Facts:
    """Facts that the name alone says."""
    facts = Facts(path, kind=kind, collection=names.collection, name=names.name, case_key=names.case)
    facts.split, facts.patient = names.split, names.patient
    return facts


def describe(facts: Facts, array: NDArray[Any], names: Names, slope: float = 1.0, intercept: float = 0.0) -> None:
    """Fill role, grey values, thumbnail and digest.

    Args:
        facts: What :func:`begin` made.
        array: Stored values, axes (x, y, z, ...); they are never rescaled as a whole.
        names: What the name says.
        slope: Rescaled values are ``slope * stored + intercept``.
        intercept: See ``slope``.
    """
    facts.shape = "x".join(str(size) for size in array.shape)
    facts.height, facts.width = int(array.shape[0]), int(array.shape[1]) if array.ndim > 1 else 1
    facts.bits = 1 if array.dtype == bool else array.dtype.itemsize * 8
    counted = pixels.measure(facts, array, slope=slope, intercept=intercept)
    facts.role, facts.role_from = names.role, "name" if names.role else ""
    if not facts.role:
        facts.role_from = "content"
        labels = (slope, intercept) == (1.0, 0.0) and pixels.looks_like_labels(array, counted)
        facts.role = "mask" if labels else "image"
    if facts.role == "mask":
        pixels.measure_labels(facts, array, counted, slope=slope, intercept=intercept)
    else:
        facts.modality, facts.modality_from = names.modality, "name" if names.modality else ""
        if facts.modality == "CT":
            facts.histogram = pixels.hu_histogram(counted)
    spatial = array.reshape(*array.shape[:3], -1)[..., 0] if array.ndim > 3 else array
    thumb = pixels.flat_thumbnail(spatial.transpose()) * np.float32(slope) + np.float32(intercept)
    facts.thumb = pixels.to_bytes(thumb, facts.p01, facts.p99)
    facts.digest = pixels.fingerprint(facts, array)


def place(facts: Facts, lps: NDArray[np.float64] | None) -> bool:
    """Spacing, orientation and affine from the (3, 4) matrix of indices to LPS mm; False where it is of no use."""
    if lps is None or lps.shape != (3, 4) or not np.all(np.isfinite(lps)):
        facts.damage = "no usable affine"
        return False
    sizes = geometry.voxel_sizes(lps)
    if min(sizes) < 1e-6:
        facts.damage = f"the affine gives voxels of {sizes[0]:g} x {sizes[1]:g} x {sizes[2]:g} mm"
        return False
    facts.orient, facts.oblique = geometry.orientation_code(lps[:, :3])
    facts.affine = geometry.pack(lps)
    facts.spacing0, facts.spacing1, facts.spacing2 = sizes
    return True


def grey(array: NDArray[Any]) -> NDArray[np.float32]:
    """The mean of the channels of an RGB volume, whose values are structures."""
    names = (array.dtype.names or ())[:3]
    total = np.zeros(array.shape, np.float32, order="F")
    for name in names:
        total += array[name]
    total /= max(len(names), 1)
    return total
