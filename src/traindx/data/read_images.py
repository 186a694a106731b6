"""One PNG, JPEG, JPEG 2000, GIF, WEBP, BMP or TIFF file; a TIFF of several pages is a volume."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traindx.data import limits, pixels
from traindx.data.facts import Facts
from traindx.data.names import Names
from traindx.data.reading import NotReadError, UnreadableError, reason_of

_STRIP = 512
"""Rows that are copied at a time."""

_SLIDE_SIDE = 8192
"""A TIFF of several resolutions with a side above this is a slide, not a picture."""


def read(path: str, name: str, names: Names) -> Iterator[Facts]:
    """Facts of one image file.

    Args:
        path: The file.
        name: Its path relative to the data folder.
        names: What the name says.

    Raises:
        NotReadError: It is larger than one image may be, or its decoder is not installed.
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
        NotReadError: It is larger than one image may be, or its decoder is not installed.
        UnreadableError: The file cannot be decoded.
    """
    if path.lower().endswith((".tif", ".tiff")) or _is_tiff(path):
        array, mode = _tiff(path)
    else:
        array, mode = _pillow(path)
    if array.size == 0 or array.ndim < 2:
        raise UnreadableError(f"no pixels, shape {array.shape}")
    if mode == "P":
        return array, "palette"
    if array.ndim > 2 and array.shape[-1] in (3, 4) and mode != "":
        grey, colour = pixels.grey(array)
        return grey, "colour" if colour else ""
    return array, ""


def read_slide(path: str, name: str, names: Names) -> Iterator[Facts]:
    """Size and levels of a whole-slide image; no pixel of it is read.

    Raises:
        NotReadError: Always: it says what the slide is, and that only its header was looked at.
        UnreadableError: Not even its header can be read.
    """
    yield from ()
    if not _is_tiff(path):
        raise NotReadError("a whole-slide image of a vendor's own format, which is not read (OpenSlide opens it)")
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            first = file.series[0]
            height, width = first.shape[:2]
            levels = len(first.levels)
    except Exception as error:
        raise UnreadableError(f"{type(error).__name__}: {reason_of(error)}") from None
    raise NotReadError(f"a whole-slide image, {width} x {height} pixels in {levels} levels: only its header is read")


def _is_tiff(path: str) -> bool:
    with open(path, "rb") as stream:
        return stream.read(4) in (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")


def _tiff(path: str) -> tuple[NDArray[Any], str]:
    import tifffile

    pages = 0
    try:
        with tifffile.TiffFile(path) as file:
            if not file.series:
                raise UnreadableError("no pages")
            pages = len(file.pages)
            first = file.series[0]
            shape = tuple(int(size) for size in first.shape)
            plain = first.keyframe is not None and first.keyframe.compression == 1
            limits.check(shape, np.dtype(first.dtype).itemsize, stored=os.path.getsize(path) if plain else None)
            if len(file.pages) > 1 and len(first.levels) > 1 and max(shape) > _SLIDE_SIDE:
                raise NotReadError(
                    f"a pyramid of {len(first.levels)} levels, {limits.size_text(shape)}: only its header is read"
                )
            array = np.asarray(first.asarray())
    except (NotReadError, UnreadableError):
        raise
    except Exception as error:
        if "imagecodecs" in str(error) and pages == 1:
            return _pillow(path)  # which brings decoders of its own, for LZW among others, and reads one page
        if "imagecodecs" in str(error):
            raise NotReadError(f"{reason_of(error)}: pip install imagecodecs") from None
        raise UnreadableError(f"{type(error).__name__}: {reason_of(error)}") from None
    return array, "RGB" if array.ndim > 2 and array.shape[-1] in (3, 4) else ""


def _pillow(path: str) -> tuple[NDArray[Any], str]:
    from PIL import Image

    before = Image.MAX_IMAGE_PIXELS
    Image.MAX_IMAGE_PIXELS = None  # the size is checked here, against the memory there is
    try:
        with Image.open(path) as image:
            width, height = image.size
            deep = 4 if image.mode in ("I", "F") else 2 if image.mode.startswith("I;16") else 1
            limits.check((height, width, len(image.getbands())), deep)
            decoded: Any = image
            if image.mode == "P" and image.format in ("GIF", "WEBP"):
                decoded = _without_palette(image)
            elif image.mode in ("CMYK", "YCbCr", "LA", "PA", "LAB", "HSV"):
                decoded = image.convert("RGB")
            values = _values(decoded)
            # Pillow hands over bits as bytes of 0 and 255 that are called bool: counted, they would be 255.
            return (values.view(np.uint8) != 0 if values.dtype == bool else values), str(decoded.mode)
    except (NotReadError, UnreadableError, MemoryError):
        raise
    except Exception as error:
        text = reason_of(error)
        if "decoder" in text and "not available" in text:
            raise NotReadError(f"{text}: this Pillow was built without it (pip install --upgrade pillow)") from None
        raise UnreadableError(f"{type(error).__name__}: {text}") from None
    finally:
        Image.MAX_IMAGE_PIXELS = before


def _without_palette(image: Any) -> Any:
    """A GIF always has a palette; one of greys only holds a grey image, whose numbers mean nothing by themselves."""
    image.load()
    colours = np.asarray(image.getpalette() or [0, 0, 0], np.int16).reshape(-1, 3)
    return image.convert("L" if int(np.ptp(colours, axis=1).max()) == 0 else "RGB")


def _values(image: Any) -> NDArray[Any]:
    """Values of a decoded image, in strips: Pillow hands over a whole one by way of two copies."""
    width, height = image.size
    first = np.asarray(image.crop((0, 0, width, min(height, _STRIP))))
    if height <= _STRIP:
        return first
    array = np.empty((height, *first.shape[1:]), first.dtype)
    array[: len(first)] = first
    for top in range(_STRIP, height, _STRIP):
        array[top : top + _STRIP] = np.asarray(image.crop((0, top, width, min(height, top + _STRIP))))
    return array
