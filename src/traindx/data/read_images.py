"""One PNG, JPEG, BMP or TIFF file; a TIFF of several pages is a volume."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traindx.data import pixels
from traindx.data.facts import Facts
from traindx.data.names import Names
from traindx.data.reading import UnreadableError, reason_of

_COLOUR_TOLERANCE = 8.0
"""Grey levels by which the channels of a grey JPEG may differ (chroma rounding leaves up to about 3)."""


def read(path: str, name: str, names: Names) -> Iterator[Facts]:
    """Facts of one image file.

    Args:
        path: The file.
        name: Its path relative to the data folder.
        names: What the name says.

    Raises:
        UnreadableError: The file cannot be decoded.
    """
    array, colour = load(path)
    facts = Facts(name, kind="image", collection=names.collection, name=names.name, case_key=names.case)
    facts.split, facts.patient, facts.photometric = names.split, names.patient, colour
    facts.shape = "x".join(str(size) for size in array.shape)
    facts.height, facts.width = int(array.shape[-2]), int(array.shape[-1])
    facts.bits = 1 if array.dtype == bool else array.dtype.itemsize * 8
    counted = pixels.measure(facts, array)
    facts.role, facts.role_from = names.role, "name" if names.role else ""
    if not facts.role:
        facts.role_from = "content"
        facts.role = "mask" if pixels.looks_like_labels(array, counted) else "image"
    if facts.role == "mask":
        pixels.measure_labels(facts, array, counted)
    else:
        facts.modality, facts.modality_from = names.modality, "name" if names.modality else ""
    facts.thumb = pixels.thumbnail(array, facts.p01, facts.p99)
    facts.digest = pixels.fingerprint(facts, array)
    yield facts


def load(path: str) -> tuple[NDArray[Any], str]:
    """Grey values (H, W) or (pages, H, W), and ``colour``, ``palette`` or nothing.

    Raises:
        UnreadableError: The file cannot be decoded.
    """
    try:
        if path.lower().endswith((".tif", ".tiff")):
            import tifffile

            array = np.asarray(tifffile.imread(path))
            mode = "RGB" if array.ndim > 2 and array.shape[-1] in (3, 4) else ""
        else:
            from PIL import Image

            with Image.open(path) as image:
                mode = image.mode
                array = np.asarray(image.convert("RGB") if mode in ("CMYK", "YCbCr", "LA", "PA") else image)
    except Exception as error:
        raise UnreadableError(f"{type(error).__name__}: {reason_of(error)}") from None
    if array.size == 0 or array.ndim < 2:
        raise UnreadableError(f"no pixels, shape {array.shape}")
    if mode == "P":
        return array, "palette"
    if array.ndim > 2 and array.shape[-1] in (3, 4) and mode != "":
        channels = array[..., :3].astype(np.float32)
        if float(np.ptp(channels, axis=-1).max()) <= _COLOUR_TOLERANCE:
            return np.ascontiguousarray(array[..., 0]), ""
        return np.round(channels.mean(axis=-1)).astype(array.dtype), "colour"
    return array, ""
