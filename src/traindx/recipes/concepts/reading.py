"""One radiograph from a PNG, JPEG, TIFF or DICOM file, as grey values in which dense is bright."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn import functional as F

from traindx.errors import InputError
from traindx.recipes.concepts.pipeline import IDENTITY, normalise, to_network, warp

PICTURES = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp")


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
        values: Grey values ``(H, W)``.
        size: Side of the network's input; an image that is not square is stretched, as the sets of training are.

    Returns:
        Image in [0, 1] and network values, both ``(1, 1, size, size)``.
    """
    image = normalise(torch.from_numpy(values)[None])[None]
    if image.shape[-1] != image.shape[-2]:
        side = max(size, min(image.shape[-2:]) // size * size)
        image = F.interpolate(image, size=(side, side), mode="area" if side < min(image.shape[-2:]) else "bilinear")
    image = warp(image, [IDENTITY], size)
    return image, to_network(image)
