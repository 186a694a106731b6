"""One image from a file: a radiograph (PNG, JPEG, TIFF, DICOM) in which dense is bright, or a picture in colour."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from traindx.errors import InputError
from traindx.recipes.concepts.data import channels_first
from traindx.recipes.concepts.pipeline import IDENTITY, normalise, to_network, warp

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")
COLOUR_SIDE = 192
"""Side in pixels at which colour images are kept; a whole multiple of the network's 96."""


def read_image(path: Path, channels: int) -> NDArray[np.float32]:
    """Grey values ``(H, W)`` for one channel, colours of a square ``(S, S, 3)`` for three.

    Raises:
        InputError: The file cannot be used.
    """
    return read_radiograph(path) if channels == 1 else as_square(read_colour(path))


def read_colour(path: Path) -> NDArray[np.float32]:
    """Red, green and blue of a picture, 0 to 255, ``(H, W, 3)``.

    Raises:
        InputError: The file is missing or no picture.
    """
    from PIL import Image

    if not path.is_file():
        raise InputError(f"{path} does not exist", expected="a picture in colour (JPEG, PNG, TIFF)")
    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB")).astype(np.float32)
    except Exception as error:  # decoders raise anything on damaged files
        raise InputError(f"{path} cannot be read: {type(error).__name__}: {error}", expected="a picture") from error


def as_square(values: NDArray[np.float32], side: int = COLOUR_SIDE) -> NDArray[np.float32]:
    """The central square of ``(H, W, 3)`` at ``side`` pixels, averaged over areas, in whole values.

    Cut and not stretched: asymmetry is a concept, and a turn by 90 degrees must give another possible image.
    """
    height, width = values.shape[:2]
    short = min(height, width)
    top, left = (height - short) // 2, (width - short) // 2
    square = torch.from_numpy(values[top : top + short, left : left + short]).movedim(-1, 0)[None]
    scaled: NDArray[np.float32] = F.interpolate(square, size=(side, side), mode="area")[0].movedim(0, -1).numpy()
    return np.rint(scaled)


def read_radiograph(path: Path) -> NDArray[np.float32]:
    """Grey values ``(H, W)``; bright is dense.

    Raises:
        InputError: The file is missing, damaged, or no single grey image.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist", expected="a PNG, JPEG, TIFF or DICOM file")
    try:
        values = _picture(path) if path.suffix.lower() in PICTURES else _dicom(path)
    except InputError:
        raise
    except Exception as error:  # decoders raise anything on damaged files
        raise InputError(f"{path} cannot be read: {type(error).__name__}: {error}", expected="a radiograph") from error
    if values.ndim != 2 or min(values.shape) < 16:
        raise InputError(f"{path} has shape {values.shape}", expected="one grey image of at least 16 pixels a side")
    if not np.isfinite(values).all() or values.min() == values.max():
        raise InputError(f"{path} is constant or not finite", expected="a radiograph")
    return values


def _picture(path: Path) -> NDArray[np.float32]:
    """8 and 16 bits as they are; colour as its luminance. ``convert("L")`` would clip 16 bits at 255."""
    from PIL import Image

    with Image.open(path) as image:
        colour = image.mode in ("RGB", "RGBA", "P", "LA", "CMYK", "YCbCr", "1")
        return np.asarray(image.convert("RGB").convert("L") if colour else image).astype(np.float32)


def _dicom(path: Path) -> NDArray[np.float32]:
    """Rescale, then the display window or table, then MONOCHROME1 turned over (DICOM PS3.3 C.7.6.3.1.2, C.11)."""
    import pydicom
    from pydicom.pixels.processing import apply_modality_lut, apply_voi_lut

    data = pydicom.dcmread(path, force=True)
    if "PixelData" not in data:
        raise InputError(f"{path} holds no pixels", expected="a DICOM radiograph")
    kind = str(data.get("PhotometricInterpretation", "MONOCHROME2"))
    if not kind.startswith("MONOCHROME"):
        raise InputError(f"{path} is {kind}", expected="MONOCHROME1 or MONOCHROME2")
    values = apply_voi_lut(apply_modality_lut(data.pixel_array, data), data).astype(np.float32)
    return values.max() + values.min() - values if kind == "MONOCHROME1" else values


def for_network(values: NDArray[np.float32], size: int) -> tuple[Tensor, Tensor]:
    """An image as the network sees it, on the very path of training and validation.

    Args:
        values: Grey values ``(H, W)``, or colours ``(H, W, 3)``.
        size: Side of the network's input; an image that is not square is stretched, as the sets of training are.

    Returns:
        Image in [0, 1] and network values, both ``(1, C, size, size)``.
    """
    image = normalise(channels_first(values))[None]
    if image.shape[-1] != image.shape[-2]:
        side = max(size, min(image.shape[-2:]) // size * size)
        image = F.interpolate(image, size=(side, side), mode="area" if side < min(image.shape[-2:]) else "bilinear")
    image = warp(image, [IDENTITY], size)
    return image, to_network(image)
