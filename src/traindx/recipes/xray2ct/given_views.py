"""Radiographs that are given as files, and whether they are projections of the volumes that they belong to."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from traindx.core.orientation import TURNS, correlation
from traindx.errors import InputError
from traindx.recipes.xray2ct.geometry import VIEWS, ConeGeometry

SUFFIXES = (".npy", ".png", ".dcm")

_BETTER = 0.02  # of correlation: a nearly symmetric patient must not be called mirrored by noise
_LEAST = 0.5  # below it the image shows something else, another patient or another view


def read_radiographs(folder: Path, ids: tuple[str, ...], geometry: ConeGeometry, scale: float) -> dict[str, Tensor]:
    """Read ``<id>_<view>`` of every patient and view.

    Args:
        folder: Where the files are, in NumPy, PNG (8 or 16 bit) or DICOM.
        ids: The patients.
        geometry: The detector; images of other sizes are averaged or interpolated to it.
        scale: Line integral of a grey level; stored values times this are :math:`-\\log(I/I_0)`. NumPy files hold line
            integrals already, DICOM files those of ``RescaleSlope`` and ``RescaleIntercept`` before.

    Returns:
        Line integrals, ``(N, 1, rows, columns)`` a view.

    Raises:
        InputError: A file is missing or cannot be read.
    """
    return {view: torch.stack([_read(folder, f"{name}_{view}", geometry, scale) for name in ids]) for view in VIEWS}


def _read(folder: Path, name: str, geometry: ConeGeometry, scale: float) -> Tensor:
    paths = [folder / f"{name}{suffix}" for suffix in SUFFIXES if (folder / f"{name}{suffix}").exists()]
    if len(paths) != 1:
        raise InputError(
            f"{folder} holds {len(paths) or 'no'} files for {name}", expected=f"one of {name}{{{','.join(SUFFIXES)}}}"
        )
    path = paths[0]
    try:
        values = _values(path, scale)
    except (OSError, ValueError, EOFError, AttributeError) as error:
        raise InputError(f"{path} cannot be read: {error}", expected="a grey image") from error
    if values.ndim != 2:
        raise InputError(f"{path} has shape {values.shape}", expected="one grey image")
    image = torch.from_numpy(values.astype(np.float32))[None, None]
    if image.shape[2:] != geometry.pixels:
        image = F.interpolate(image, size=geometry.pixels, mode="bilinear", antialias=True)
    return image[0]


def _values(path: Path, scale: float) -> np.ndarray:
    if path.suffix == ".npy":
        return np.asarray(np.load(path, allow_pickle=False), dtype=np.float32)
    if path.suffix == ".png":
        from PIL import Image

        with Image.open(path) as image:
            return np.asarray(image, dtype=np.float32) * scale
    import pydicom
    from pydicom.errors import InvalidDicomError

    try:
        read = pydicom.dcmread(path)
    except InvalidDicomError as error:
        raise ValueError(str(error)) from error
    values = read.pixel_array.astype(np.float32)
    values = values * float(read.get("RescaleSlope", 1)) + float(read.get("RescaleIntercept", 0))
    if read.get("PhotometricInterpretation") == "MONOCHROME1":  # low values are shown bright: dense is low
        values = values.max() - values
    return np.asarray(values * scale)


def verify_views(given: dict[str, Tensor], rendered: dict[str, Tensor], ids: tuple[str, ...]) -> None:
    """Compare given radiographs with those rendered from the volumes, in every orientation.

    Args:
        given: ``(N, 1, rows, columns)`` a view.
        rendered: The same, from the volumes.
        ids: The patients.

    Raises:
        InputError: An image fits better mirrored, turned, or as the other view; or it fits in no way.
    """
    for view, images in given.items():
        for index, name in enumerate(ids):
            own = correlation(images[index], rendered[view][index])
            fits = {
                f"{view} {how}": correlation(turn(images[index]), rendered[view][index]) for how, turn in TURNS.items()
            }
            others = {
                f"the {other} view": correlation(images[index], rendered[other][index])
                for other in given
                if other != view
            }
            best, value = max({**fits, **others}.items(), key=lambda item: item[1])
            if value > own + _BETTER:
                raise InputError(
                    f"{name}: the {view} radiograph fits its CT better as {best} (correlation {value:.3f}) than as it "
                    f"is ({own:.3f})",
                    expected="images as rendered: superior at the top, the patient's right on the left of the frontal "
                    "view, anterior on the left of the lateral one",
                    do="turn the file, or fix the pairing of files and patients",
                )
            if own < _LEAST:
                raise InputError(
                    f"{name}: the {view} radiograph correlates by {own:.3f} with that of its CT",
                    expected=f"at least {_LEAST:g}",
                    do="check that both are of one patient, and that dense tissue has high values",
                )
