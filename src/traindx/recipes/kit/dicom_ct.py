"""A volume in Hounsfield units as a DICOM series: CT Image Storage, one file a slice, in its place in the patient.

Attributes are those of the CT Image IOD (DICOM PS3.3, A.3). The series says of itself that it is derived and synthetic,
in its image type, its description and its derivation, so that nobody takes it for an acquired one.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from traindx.errors import InputError
from traindx.version import __version__

if TYPE_CHECKING:
    from pydicom.dataset import Dataset, FileDataset

_INTERCEPT = -1024  # of stored values, as scanners have it; lower where a volume goes below it
_LARGEST = 65535  # of 16 bit without sign
_SQUARE = 1e-3  # cosine between two axes: rounding of an affine that went through a file
_KEPT = (
    *("PatientName", "PatientID", "PatientBirthDate", "PatientSex", "IssuerOfPatientID"),
    *("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "ReferringPhysicianName"),
    *("StudyDescription", "FrameOfReferenceUID", "PositionReferenceIndicator", "PatientPosition"),
)
"""What a derived series shares with the series that it was derived from: patient, study and frame of reference."""


def write(
    folder: Path,
    hu: NDArray[Any],
    affine: NDArray[np.float64],
    *,
    description: str,
    derivation: str,
    reference: FileDataset | None = None,
) -> list[Path]:
    """Write a series.

    Args:
        folder: Where to; made where it is missing, and must hold no file.
        hu: Hounsfield units, shape ``(D, H, W)``: slices, rows, columns.
        affine: Indices (D, H, W) to mm, right, anterior and superior positive (RAS+, as NIfTI), shape ``(4, 4)``.
        description: Series description, up to 64 characters.
        derivation: How the values came about, in words.
        reference: A slice of the series that it was derived from; patient, study and frame of reference are taken over.

    Returns:
        The files, in the order of their positions.

    Raises:
        InputError: The axes are not at right angles, values do not fit, or the folder holds files.
    """
    if folder.is_dir() and any(folder.iterdir()):
        raise InputError(
            f"{folder} holds files already", expected="a new folder for the series", do="pass another --out"
        )
    from pydicom.uid import generate_uid

    intercept = min(_INTERCEPT, int(np.floor(hu.min())))
    stored = np.rint(np.asarray(hu, dtype=np.float64) - intercept)
    if not np.isfinite(stored).all() or stored.max() > _LARGEST:
        raise InputError(f"values from {hu.min():g} to {hu.max():g} HU", expected="finite values that 16 bit hold")
    folder.mkdir(parents=True, exist_ok=True)
    series: dict[str, Any] = {
        "SeriesInstanceUID": generate_uid(),
        "SeriesDescription": description[:64],
        "DerivationDescription": derivation,
        "RescaleIntercept": intercept,
        "RescaleSlope": 1,
        "RescaleType": "HU",
        **_of_study(reference),
    }
    written = []
    for number, (slice_index, place) in enumerate(_places(affine, hu.shape), start=1):
        item = _slice(stored[slice_index].astype(np.uint16), {**series, **place, "InstanceNumber": number})
        path = folder / f"CT{number:04d}.dcm"
        item.save_as(path, enforce_file_format=True)
        written.append(path)
    return written


def _places(affine: NDArray[np.float64], shape: tuple[int, ...]) -> Iterator[tuple[int, dict[str, Any]]]:
    """Index and image plane of each slice, along the normal of the rows and columns (PS3.3, C.7.6.2.1.1)."""
    to_lps = np.diag([-1.0, -1.0, 1.0, 1.0]) @ affine  # DICOM: left, posterior, superior
    spacing = np.linalg.norm(to_lps[:3, :3], axis=0)
    across, along_column, along_row = (to_lps[:3, axis] / spacing[axis] for axis in range(3))
    normal = np.cross(along_row, along_column)
    if abs(float(along_row @ along_column)) > _SQUARE or abs(abs(float(normal @ across)) - 1) > _SQUARE:
        raise InputError(
            "the axes of the volume are not at right angles",
            expected="a grid that DICOM slices can state",
            do="resample the CT to an upright grid",
        )
    forwards = float(normal @ across) > 0
    for index in range(shape[0]) if forwards else range(shape[0] - 1, -1, -1):
        position = to_lps @ [index, 0, 0, 1]
        yield (
            index,
            {
                "ImagePositionPatient": [_decimal(value) for value in position[:3]],
                "ImageOrientationPatient": [_decimal(value) for value in (*along_row, *along_column)],
                "PixelSpacing": [_decimal(spacing[1]), _decimal(spacing[2])],  # between rows, between columns
                "SliceThickness": _decimal(spacing[0]),
                "SpacingBetweenSlices": _decimal(spacing[0]),
                "SliceLocation": _decimal(float(normal @ position[:3])),
            },
        )


def _decimal(value: float) -> str:
    """A number in the 16 characters of a decimal string (PS3.5, 6.2); 1e-6 mm are far below any voxel."""
    text = f"{round(float(value), 6) + 0.0:.6f}".rstrip("0").rstrip(".")
    return text if len(text) <= 16 else f"{float(value):.9g}"


def _of_study(reference: FileDataset | None) -> dict[str, Any]:
    from pydicom.uid import generate_uid

    now = datetime.datetime.now()
    own: dict[str, Any] = {
        "PatientName": "",
        "PatientID": "",
        "PatientBirthDate": "",
        "PatientSex": "",
        "StudyInstanceUID": generate_uid(),
        "StudyDate": now.strftime("%Y%m%d"),
        "StudyTime": now.strftime("%H%M%S"),
        "StudyID": "",
        "AccessionNumber": "",
        "ReferringPhysicianName": "",
        "FrameOfReferenceUID": generate_uid(),
        "PositionReferenceIndicator": "",
        "PatientPosition": "HFS",
        "ContentDate": now.strftime("%Y%m%d"),
        "ContentTime": now.strftime("%H%M%S"),
    }
    if reference is not None:
        own.update({name: reference.get(name) for name in _KEPT if reference.get(name) is not None})
    return own


def _slice(stored: NDArray[np.uint16], attributes: dict[str, Any]) -> Dataset:
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    item = Dataset()
    item.file_meta = FileMetaDataset()
    item.file_meta.MediaStorageSOPClassUID = CTImageStorage
    item.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    item.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    item.SpecificCharacterSet = "ISO_IR 192"
    item.SOPClassUID, item.SOPInstanceUID = CTImageStorage, item.file_meta.MediaStorageSOPInstanceUID
    item.Modality, item.SeriesNumber, item.AcquisitionNumber, item.KVP = "CT", 9001, None, None
    item.ImageType = ["DERIVED", "SECONDARY", "AXIAL"]
    item.Manufacturer, item.ManufacturerModelName, item.SoftwareVersions = "traindx", "traindx", __version__
    item.BurnedInAnnotation, item.LossyImageCompression = "NO", "00"
    item.SamplesPerPixel, item.PhotometricInterpretation = 1, "MONOCHROME2"
    item.Rows, item.Columns = stored.shape
    item.BitsAllocated = item.BitsStored = 16
    item.HighBit, item.PixelRepresentation = 15, 0
    item.WindowCenter, item.WindowWidth = 40, 400
    for name, value in attributes.items():
        setattr(item, name, value)
    item.PixelData = np.ascontiguousarray(stored).astype("<u2").tobytes()
    return item
