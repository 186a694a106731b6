"""A DICOM series with a marker whose place in mm is known from the formula of the standard alone."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from pydicom.dataset import FileDataset, FileMetaDataset
from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid
from scipy import ndimage

UPRIGHT = (1.0, 0.0, 0.0, 0.0, 1.0, 0.0)
OBLIQUE = (0.96, 0.28, 0.0, -0.2244, 0.7693, 0.5982)  # a row and a column at right angles, rounded as headers are
SLOPE, INTERCEPT = 0.5, -1200.0


def values(shape: tuple[int, int, int], seed: int = 0) -> np.ndarray:
    """HU ``(slices, rows, columns)``: smooth body, air, and a small marker away from every plane of symmetry."""
    volume = ndimage.gaussian_filter(np.random.default_rng(seed).normal(size=shape), 2.0)
    volume = np.round(200 * volume / volume.std()).clip(-800, 800)
    volume[:, :2] = -1000.0
    volume[marker(shape)] = 1500.0
    return volume


def marker(shape: tuple[int, int, int]) -> tuple[int, int, int]:
    """Slice, row and column of the marker."""
    return shape[0] - 3, shape[1] // 4, shape[2] // 2 + 3


def place(index: tuple[int, int, int], geometry: dict[str, Any]) -> np.ndarray:
    """Slice, row and column to mm, left, posterior and superior (DICOM PS3.3, equation C.7.6.2.1-1)."""
    row, column = np.array(geometry["orientation"][:3]), np.array(geometry["orientation"][3:])
    between_rows, between_columns = geometry["spacing"]
    corner = np.array(geometry["origin"]) + index[0] * geometry["step"] * np.cross(row, column)
    return corner + row * between_columns * index[2] + column * between_rows * index[1]


GEOMETRIES: dict[str, dict[str, Any]] = {
    "upright": {"orientation": UPRIGHT, "spacing": (0.9, 0.7), "step": 2.5, "origin": (-31.5, 14.25, -120.0)},
    "oblique": {"orientation": OBLIQUE, "spacing": (1.1, 0.8), "step": 1.75, "origin": (12.0, -40.0, 300.5)},
    "sagittal": {"orientation": (0, 1, 0, 0, 0, -1), "spacing": (0.8, 1.2), "step": 2.0, "origin": (55.0, -70.0, 10.0)},
}


def series(folder: Path, volume: np.ndarray, geometry: dict[str, Any], *, tilt: float = 0.0, skip: int = -1) -> Path:
    """Write the slices under names that say nothing about their order."""
    folder.mkdir()
    study, number, frame = generate_uid(), generate_uid(), generate_uid()
    order = np.random.default_rng(1).permutation(len(volume))
    for index, image in enumerate(volume):
        if index == skip:
            continue
        meta = FileMetaDataset()
        meta.MediaStorageSOPClassUID, meta.TransferSyntaxUID = CTImageStorage, ExplicitVRLittleEndian
        meta.MediaStorageSOPInstanceUID = generate_uid()
        item = FileDataset(None, {}, file_meta=meta, preamble=b"\0" * 128)
        item.SOPClassUID, item.SOPInstanceUID, item.Modality = CTImageStorage, meta.MediaStorageSOPInstanceUID, "CT"
        item.StudyInstanceUID, item.SeriesInstanceUID, item.FrameOfReferenceUID = study, number, frame
        item.PatientName, item.PatientID, item.PatientBirthDate, item.PatientSex = "Phantom^A", "P-17", "19700101", "O"
        item.StudyDate, item.StudyTime, item.StudyID, item.AccessionNumber = "20260101", "120000", "S1", "A1"
        item.ReferringPhysicianName, item.SeriesNumber, item.InstanceNumber = "", 3, int(order[index]) + 1
        item.Manufacturer, item.PositionReferenceIndicator = "phantom", ""
        item.ImageOrientationPatient = [float(value) for value in geometry["orientation"]]
        item.ImagePositionPatient = [float(v) for v in place((index, 0, 0), geometry) + np.array([0, tilt * index, 0])]
        item.PixelSpacing, item.SliceThickness = list(geometry["spacing"]), geometry["step"]
        item.RescaleSlope, item.RescaleIntercept = SLOPE, INTERCEPT
        stored = np.round((image - INTERCEPT) / SLOPE).astype(np.uint16)
        item.Rows, item.Columns = stored.shape
        item.BitsAllocated = item.BitsStored = 16
        item.HighBit, item.PixelRepresentation, item.SamplesPerPixel = 15, 0, 1
        item.PhotometricInterpretation, item.PixelData = "MONOCHROME2", stored.tobytes()
        item.save_as(folder / f"{order[index]:03d}", enforce_file_format=True)
    (folder / "notes.txt").write_text("not DICOM")
    return folder
