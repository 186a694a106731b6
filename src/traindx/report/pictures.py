"""Arrays of the evidence directory as PNG: grey scale, one panel a picture, voxels kept square and crisp."""

from __future__ import annotations

import base64
import io
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from traindx.diagnosis import Diagnosis
from traindx.evidence.base import Picture

Arrays = Callable[[str], NDArray[np.float32]]
"""``picture name -> array`` of shape (H, W) or (n, H, W); KeyError, OSError or ValueError where there is none."""

_NOT_FINITE = (214, 51, 132)  # magenta: no grey value of a picture can be mistaken for it


@dataclass(frozen=True)
class Panel:
    """One grey-scale image.

    Attributes:
        png: The encoded file.
        label: Its label, or nothing.
        width: Pixels.
        height: Pixels.
        not_finite: Pixels that are NaN or infinite, drawn in magenta.
    """

    png: bytes
    label: str
    width: int
    height: int
    not_finite: int = 0

    @property
    def uri(self) -> str:
        """The image as a ``data:`` address."""
        return f"data:image/png;base64,{base64.b64encode(self.png).decode('ascii')}"


def arrays_of(directory: Path, diagnosis: Diagnosis) -> Arrays:
    """A loader for the pictures of a diagnosis that were written to an evidence directory."""
    files = {picture.name: picture.file for picture in diagnosis.pictures}

    def load(name: str) -> NDArray[np.float32]:
        array: NDArray[np.float32] = np.load(directory / files[name], allow_pickle=False)
        return array

    return load


def no_arrays(name: str) -> NDArray[np.float32]:
    """The loader of a diagnosis that has no evidence directory."""
    raise KeyError(name)


def panels(picture: Picture, arrays: Arrays) -> tuple[Panel, ...]:
    """The panels of a picture, left to right; empty where its array is missing or is not a picture.

    Args:
        picture: Its record: grey window and labels.
        arrays: Where the array comes from.
    """
    try:
        array = np.asarray(arrays(picture.name), dtype=np.float32)
    except (KeyError, OSError, ValueError):
        return ()
    stack = array[None] if array.ndim == 2 else array
    if stack.ndim != 3 or 0 in stack.shape:
        return ()
    labels = (*picture.labels, *[""] * len(stack))
    return tuple(_panel(image, label, picture.low, picture.high) for image, label in zip(stack, labels, strict=False))


def _panel(image: NDArray[np.float32], label: str, low: float, high: float) -> Panel:
    grey, bad = grey_values(image, low, high)
    pixels: NDArray[Any] = grey
    if bad.any():
        pixels = np.repeat(grey[..., None], 3, axis=-1)
        pixels[bad] = _NOT_FINITE
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, format="PNG")
    return Panel(buffer.getvalue(), label, image.shape[1], image.shape[0], int(bad.sum()))


def grey_values(image: NDArray[np.float32], low: float, high: float) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
    """Grey values 0..255 of an image (H, W) under a linear window, and where it is not finite.

    ``low`` maps to 0 and ``high`` to 255; a window without width falls back to the image's own range.
    """
    bad = ~np.isfinite(image)
    clean = np.where(bad, 0.0, image).astype(np.float64)
    if not (np.isfinite(low) and np.isfinite(high) and high > low):
        good = clean[~bad]
        low, high = (float(good.min()), float(good.max())) if good.size else (0.0, 1.0)
        high = high if high > low else low + 1.0
    scaled = np.clip((clean - low) / (high - low), 0.0, 1.0)
    return np.round(scaled * 255).astype(np.uint8), bad


def strip(found: tuple[Panel, ...], *, height: int = 256, gap: int = 6) -> bytes:
    """One PNG of all panels side by side on white, enlarged without smoothing, for formats that need a file.

    Args:
        found: At least one panel.
        height: The tallest panel is enlarged by the whole factor that brings it to about this many pixels.
        gap: White pixels between panels.
    """
    factor = max(1, round(height / max(panel.height for panel in found)))
    images = [Image.open(io.BytesIO(panel.png)).convert("RGB") for panel in found]
    images = [image.resize((image.width * factor, image.height * factor), Image.Resampling.NEAREST) for image in images]
    width = sum(image.width for image in images) + gap * (len(images) - 1)
    sheet = Image.new("RGB", (width, max(image.height for image in images)), "white")
    left = 0
    for image in images:
        sheet.paste(image, (left, 0))
        left += image.width + gap
    buffer = io.BytesIO()
    sheet.save(buffer, format="PNG")
    return buffer.getvalue()
