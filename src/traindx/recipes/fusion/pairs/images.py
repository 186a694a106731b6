"""One image as people have it: PNG, TIFF, JPEG or NIfTI, grey or colour, 8 or 16 bit, on a range that is stated.

Fusion works on luminance in [0, 1]. Where the range of a file is not that of its type, it is chosen here and said:

* 8 bit: 0 to 255, always.
* 16 bit: 0 to the largest value of the fewest bits (8, 10, 12, 14 or 16) that hold the image, since scanners store
  12 bits in 16.
* NIfTI and floating point: minimum to 99.9th percentile of the volume, because units differ from file to file.

The caller's own range replaces each of these; CT in HU needs one.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traindx.errors import InputError

Array = NDArray[np.float32]
Affine = NDArray[np.float64]
Range = tuple[float, float]

NIFTI = (".nii.gz", ".nii")
SUFFIXES = (".png", ".tif", ".tiff", ".jpg", ".jpeg", ".bmp", *NIFTI)

LUMA = np.array([0.299, 0.587, 0.114], dtype=np.float32)
"""Shares of red, green and blue in luminance (ITU-R BT.601, 2.5.1), as the field's fusion codes take them."""

_STORED_BITS = (8, 10, 12, 14, 16)
_WHITE_PERCENTILE = 99.9  # one bright vessel or spike must not darken all else
_PNG_HEADER = 26  # signature (8), length and name of IHDR (8), width, height (8), bit depth, colour type


@dataclass(frozen=True)
class Image:
    """An image on [0, 1].

    Attributes:
        path: Where it is from.
        luminance: Shape ``(D, H, W)``; one slice for a picture.
        rest: Colour less luminance, shape ``(H, W, 3)``; None for grey images.
        bits: Bits of a sample as it is stored; 32 for floating point.
        scale: Values of the file that are 0 and 1.
        clipped: Share of pixels outside :attr:`scale`.
        affine: Grid to world in mm for (W, H, D) indices; None for pictures.
    """

    path: Path
    luminance: Array
    rest: Array | None
    bits: int
    scale: Range
    clipped: float = 0.0
    affine: Affine | None = None

    def __str__(self) -> str:
        *stack, height, width = self.luminance.shape[self.affine is None :]
        size = " x ".join(str(side) for side in (*stack, height, width))
        kind = "colour" if self.rest is not None else "grey"
        cut = f", {100 * self.clipped:.2g} % of it outside" if self.clipped else ""
        return f"{self.path}: {size}, {kind}, {self.bits} bit, {self.scale[0]:g} to {self.scale[1]:g}{cut}"


def stem(path: Path) -> str:
    """Name of a file without its suffix, ``.nii.gz`` included."""
    return next((path.name.removesuffix(end) for end in NIFTI if path.name.endswith(end)), path.stem)


def is_image(path: Path) -> bool:
    """Whether the name is that of an image which can be read."""
    return path.name.lower().endswith(SUFFIXES) and not path.name.startswith(".")


def read(path: Path, scale: Range | None = None) -> Image:
    """Read an image.

    Args:
        path: PNG, TIFF, JPEG, BMP or NIfTI.
        scale: Values that are 0 and 1, instead of those of the type (see above).

    Raises:
        InputError: It cannot be read, has several pages, transparency or axes without a meaning, or is constant
            where its range would follow from it.
    """
    if not path.exists():
        raise InputError(f"{path} does not exist", expected="an image file")
    if not is_image(path):
        raise InputError(f"{path} is of a kind that is not read", expected=", ".join(SUFFIXES))
    affine: Affine | None = None
    if path.name.lower().endswith(NIFTI):
        values, affine = _nifti(path)
        bits = 32
    else:
        values = _tiff(path) if path.suffix.lower() in (".tif", ".tiff") else _picture(path)
        bits = 32 if values.dtype.kind == "f" else 8 * values.dtype.itemsize
    if not np.isfinite(values).all():
        raise InputError(f"{path} holds values that are not finite", expected="numbers", do="replace them")
    low, high = scale or _range(values, bits, path)
    if not low < high:
        raise InputError(f"the range of {path} is {low:g} to {high:g}", expected="a lower end below the upper one")
    shown: Array = (values.astype(np.float32) - np.float32(low)) / np.float32(high - low)
    clipped = float(((shown < 0) | (shown > 1)).mean())
    shown = np.clip(shown, 0, 1, dtype=np.float32)
    if shown.ndim == 3 and affine is None:
        luminance: Array = (shown @ LUMA).astype(np.float32)
        rest: Array = shown - luminance[..., None]
        colour = None if not np.ptp(shown, axis=2).any() else rest
        return Image(path, luminance[None], colour, bits, (low, high), clipped)
    return Image(path, shown if shown.ndim == 3 else shown[None], None, bits, (low, high), clipped, affine)


def _range(values: NDArray[Any], bits: int, path: Path) -> Range:
    if bits == 8:
        return 0.0, 255.0
    if bits == 16:
        largest = int(values.max())
        return 0.0, float(2 ** next(stored for stored in _STORED_BITS if largest < 2**stored) - 1)
    low, high = float(values.min()), float(np.percentile(values, _WHITE_PERCENTILE))
    if high <= low:
        high = float(values.max())
    if high <= low:
        raise InputError(f"{path} is constant", expected="an image", do="check the file, or give its range")
    return low, high


def _picture(path: Path) -> NDArray[Any]:
    import PIL.Image

    if path.suffix.lower() == ".png":
        _refuse_deep_colour(path)
    try:
        with PIL.Image.open(path) as file:
            file.load()
            image: PIL.Image.Image = file
            if image.mode in ("P", "PA", "CMYK", "YCbCr", "HSV", "LAB"):
                image = image.convert("RGBA" if image.mode == "PA" or "transparency" in image.info else "RGB")
            values = np.asarray(image.convert("L") if image.mode == "1" else image)
    except (OSError, SyntaxError, ValueError, PIL.Image.DecompressionBombError) as error:
        raise InputError(f"{path} cannot be read: {error}", expected="an image") from error
    return _planes(values.astype(np.uint16) if values.dtype == np.int32 else values, path)


def _refuse_deep_colour(path: Path) -> None:
    """Pillow reads colour of 16 bit as 8 bit without a word."""
    with path.open("rb") as file:
        header = file.read(_PNG_HEADER)
    if len(header) == _PNG_HEADER and struct.unpack("BB", header[24:26]) in ((16, 2), (16, 6)):
        raise InputError(f"{path} is a PNG in colour with 16 bit", expected="16 bit in grey, or colour in 8 bit")


def _tiff(path: Path) -> NDArray[Any]:
    import tifffile

    try:
        with tifffile.TiffFile(path) as file:
            pages = len(file.pages)
            inverted = pages and getattr(file.pages[0], "photometric", None) == tifffile.PHOTOMETRIC.MINISWHITE
            values = file.pages[0].asarray() if pages else np.zeros(0)
    except Exception as error:  # tifffile raises its own errors, those of codecs and those of the file system
        raise InputError(f"{path} cannot be read: {error}", expected="a TIFF") from error
    if pages != 1:
        raise InputError(f"{path} has {pages} pages", expected="one image", do="save it as NIfTI, or its pages singly")
    if values.dtype == np.bool_:
        values = values.astype(np.uint8) * np.uint8(255)
    if inverted and values.dtype.kind == "u":
        values = np.iinfo(values.dtype).max - values
    return _planes(values, path)


def _planes(values: NDArray[Any], path: Path) -> NDArray[Any]:
    """Grey as ``(H, W)`` and colour as ``(H, W, 3)``, without an opaque alpha channel."""
    if values.ndim == 3 and values.shape[2] in (2, 4):
        opaque = 1.0 if values.dtype.kind == "f" else np.iinfo(values.dtype).max
        if (values[..., -1] != opaque).any():
            raise InputError(f"{path} has transparent pixels", expected="an opaque image", do="flatten it")
        values = values[..., 0] if values.shape[2] == 2 else values[..., :3]
    if values.ndim not in (2, 3) or (values.ndim == 3 and values.shape[2] != 3):
        raise InputError(f"{path} has shape {values.shape}", expected="(H, W) or (H, W, 3)")
    if values.dtype.kind not in "uf" or (values.dtype.kind == "u" and values.dtype.itemsize > 2):
        raise InputError(f"{path} holds {values.dtype}", expected="8 or 16 bit without sign, or floating point")
    return values


def _nifti(path: Path) -> tuple[NDArray[Any], Affine]:
    import nibabel

    try:
        image = nibabel.load(path)
        values = np.asarray(image.dataobj, dtype=np.float32)
    except Exception as error:  # nibabel raises its own errors, those of gzip and those of the file system
        raise InputError(f"{path} cannot be read: {error}", expected="a NIfTI image") from error
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3:
        raise InputError(f"{path} has shape {values.shape}", expected="two or three axes")
    return np.ascontiguousarray(values.transpose(2, 1, 0)), np.asarray(image.affine, dtype=np.float64)


def write(path: Path, luminance: Array, rest: Array | None, bits: int, affine: Affine | None) -> float:
    """Write a fused image: PNG of 8 or 16 bit, or NIfTI (0 to 1) where an affine is given.

    Args:
        path: Its suffix is not looked at.
        luminance: On [0, 1], shape ``(D, H, W)``.
        rest: Colour less luminance, or None for grey.
        bits: 8 or 16. Colour is written in 8 bit, which is all that Pillow writes.
        affine: Of a volume.

    Returns:
        Share of pixels whose colour lay outside the range and was clipped: their luminance is not the fused one.
    """
    import PIL.Image
    import torch

    from traindx.recipes.kit.nifti import write_nifti

    if affine is not None:
        write_nifti(path, torch.from_numpy(luminance.astype(np.float32)), affine, (2, 1, 0))
        return 0.0
    values, outside = luminance[0], 0.0
    if rest is not None:
        values = values[..., None] + rest
        tolerance = 0.5 / 255
        outside = float(((values < -tolerance) | (values > 1 + tolerance)).any(axis=2).mean())
    largest = 255 if bits == 8 or rest is not None else 65535
    stored = np.rint(values.clip(0, 1) * largest).astype(np.uint8 if largest == 255 else np.uint16)
    PIL.Image.fromarray(stored).save(path)
    return outside
