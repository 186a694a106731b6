"""A DICOM series of slices as one volume with its place in the patient, and what of it a derived object must keep."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from traindx.errors import InputError

if TYPE_CHECKING:
    from pydicom.dataset import FileDataset

_EVEN = 0.02  # of the slice distance: what rounding in the headers may differ by
_TILT_MM = 0.05  # along the slices from one to the next: rounding; a tilted gantry gives millimetres
_MAGIC_AT, _MAGIC = 128, b"DICM"  # DICOM PS3.10, 7.1


@dataclass(frozen=True)
class Series:
    """Slices in order along their normal.

    Attributes:
        values: After rescale slope and intercept, shape ``(columns, rows, slices)``: columns first, as NIfTI has it.
        affine: Indices in that order to mm, to the right, anterior and superior positive (RAS+), shape ``(4, 4)``.
        slices: The data sets, in the order of the last axis.
    """

    values: NDArray[np.float32]
    affine: NDArray[np.float64]
    slices: tuple[FileDataset, ...]


def is_dicom(path: Path) -> bool:
    """Whether a file begins as DICOM files do, or is called so."""
    try:
        with path.open("rb") as file:
            return file.read(_MAGIC_AT + len(_MAGIC))[_MAGIC_AT:] == _MAGIC or path.suffix.lower() in (".dcm", ".dicom")
    except OSError:
        return False


def is_series(folder: Path) -> bool:
    """Whether a folder holds DICOM files, beside which others may lie."""
    if not folder.is_dir():
        return False
    return any(is_dicom(item) for item in sorted(folder.iterdir()) if item.is_file() and not item.name.startswith("."))


def read(folder: Path) -> Series:
    """Read a series.

    Slices are put in order by their position along the normal of the slices (DICOM PS3.3, C.7.6.2); names and instance
    numbers say nothing about it. Oblique series are kept oblique.

    Raises:
        InputError: There is no series or more than one, slices are missing, twice, tilted, or of several sizes, or
            their pixels cannot be decoded.
    """
    slices = _slices(folder)
    series = {str(item.SeriesInstanceUID) for item in slices}
    if len(series) != 1 or len(slices) < 2:
        raise InputError(
            f"{folder} holds {len(series)} DICOM series with {len(slices)} slices",
            expected="one series of at least two slices",
            do="put each series into a folder of its own" if len(series) > 1 else "",
        )
    along_row, along_column, normal = _directions(slices, folder)
    slices.sort(key=lambda item: float(normal @ _position(item)))
    positions = np.stack([_position(item) for item in slices])
    steps = np.diff(positions, axis=0)
    distances = steps @ normal
    if distances.min() <= 0 or np.ptp(distances) > _EVEN * distances.mean():
        raise InputError(
            f"{folder}: slices are between {distances.min():.3g} and {distances.max():.3g} mm apart",
            expected="even distances: none missing, none twice",
        )
    sideways = float(np.abs(steps - distances[:, None] * normal).max())
    if sideways > _TILT_MM:
        raise InputError(
            f"{folder}: each slice lies {sideways:.3g} mm beside the one before: the gantry was tilted",
            expected="slices straight above each other",
            do="resample the series to an upright grid",
        )
    sizes = {(int(item.Rows), int(item.Columns), *map(float, item.PixelSpacing)) for item in slices}
    if len(sizes) != 1:
        raise InputError(f"{folder}: slices of several sizes: {sorted(sizes)}", expected="one size and pixel spacing")
    row_mm, column_mm = (float(value) for value in slices[0].PixelSpacing)
    affine = np.eye(4)
    # a column further is a step along the row, PixelSpacing[1] (PS3.3, C.7.6.2.1.1, equation C.7.6.2.1-1)
    affine[:3, 0], affine[:3, 1] = along_row * column_mm, along_column * row_mm
    affine[:3, 2] = (positions[-1] - positions[0]) / (len(slices) - 1)
    affine[:3, 3] = positions[0]
    affine[:2] *= -1  # DICOM's left and posterior are NIfTI's right and anterior
    values = np.stack([_values(item, folder) for item in slices], axis=-1)
    return Series(np.ascontiguousarray(values), affine, tuple(slices))


def header_of(folder: Path) -> FileDataset:
    """One data set of a series without its pixels: whose patient, study and frame of reference it is.

    Raises:
        InputError: There is none.
    """
    import pydicom
    from pydicom.errors import InvalidDicomError

    for path in sorted(item for item in folder.iterdir() if item.is_file()):
        try:
            found = pydicom.dcmread(path, stop_before_pixels=True)
        except (InvalidDicomError, OSError):
            continue
        if "ImagePositionPatient" in found:
            return found
    raise InputError(f"{folder} holds no DICOM slice", expected="a DICOM series")


def _slices(folder: Path) -> list[FileDataset]:
    import pydicom
    from pydicom.errors import InvalidDicomError

    found = []
    for path in sorted(item for item in folder.iterdir() if item.is_file()):
        try:
            read_one = pydicom.dcmread(path)
        except (InvalidDicomError, OSError):
            continue
        if int(read_one.get("NumberOfFrames", 1) or 1) > 1:
            raise InputError(
                f"{path} holds {read_one.NumberOfFrames} frames in one file",
                expected="a series of one slice a file",
                do="split it, for example by dcm2niix to NIfTI, which is read as well",
            )
        if "PixelData" in read_one and "ImagePositionPatient" in read_one:
            found.append(read_one)
    return found


def _directions(slices: list[FileDataset], folder: Path) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any]]:
    """Unit vectors along a row, along a column, and across the slices, in left, posterior, superior."""
    all_of = np.array([[float(value) for value in item.ImageOrientationPatient] for item in slices])
    if np.abs(all_of - all_of[0]).max() > 1e-3:
        raise InputError(f"{folder}: the slices are turned against each other", expected="parallel slices")
    along_row, along_column = all_of[0, :3], all_of[0, 3:]
    if abs(float(along_row @ along_column)) > 1e-3 or min(map(np.linalg.norm, (along_row, along_column))) < 0.99:
        raise InputError(
            f"{folder}: ImageOrientationPatient is {all_of[0].tolist()}", expected="two upright unit vectors"
        )
    return along_row, along_column, np.cross(along_row, along_column)


def _position(item: FileDataset) -> NDArray[np.float64]:
    return np.array([float(value) for value in item.ImagePositionPatient])


def _values(item: FileDataset, folder: Path) -> NDArray[np.float32]:
    """Rescaled values ``(columns, rows)``."""
    if str(item.get("PhotometricInterpretation", "MONOCHROME2")) not in ("MONOCHROME1", "MONOCHROME2"):
        raise InputError(f"{folder}: slices are {item.PhotometricInterpretation}", expected="grey slices")
    try:
        stored = item.pixel_array
    except Exception as error:  # each decoder raises its own
        raise InputError(
            f"{folder}: the pixels of a slice cannot be decoded: {error}",
            do="pip install 'traindx[data]', which brings decoders of JPEG and JPEG 2000",
        ) from error
    rescaled = stored.astype(np.float64) * float(item.get("RescaleSlope", 1)) + float(item.get("RescaleIntercept", 0))
    return rescaled.T.astype(np.float32)
