"""Small data folders on disk: radiographs, CT, segmentations, tables; correct ones, for tests to put one fault into."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image
from scipy.ndimage import gaussian_filter, zoom

from traindx.data import verify
from traindx.diagnosis import Diagnosis
from traindx.finding import Finding

RAS = np.diag([1.0, 1.0, 1.0, 1.0])
LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


def found(folder: Path, code: str, **options: Any) -> list[Finding]:
    """Findings of one rule on a folder."""
    return [finding for finding in examined(folder, **options).findings if finding.code == code]


def examined(folder: Path, **options: Any) -> Diagnosis:
    """The diagnosis of a folder, read in this process."""
    diagnosis = verify(folder, **{"workers": 0, **options})
    assert diagnosis.errors == ()
    return diagnosis


def codes(folder: Path, **options: Any) -> list[str]:
    """Codes of all findings beyond a note."""
    return [finding.code for finding in examined(folder, **options).findings if finding.severity != "note"]


def radiograph(seed: int, size: int = 64) -> np.ndarray:
    """A chest in 8 bits, shape (size, size): dark lungs, bright mediastinum, ribs, and detail of its own by seed."""
    rng = np.random.default_rng(seed)
    rows, columns = np.mgrid[:size, :size] / size - 0.5
    image = 0.55 + 0.25 * np.exp(-((columns / 0.1) ** 2)) + 0.2 * np.clip(rows, 0, 1)
    for side in (-1, 1):
        wide, high = rng.uniform(0.12, 0.16), rng.uniform(0.28, 0.34)
        inside = ((columns - side * 0.22) / wide) ** 2 + ((rows + 0.02) / high) ** 2
        image -= 0.35 * np.clip(1.3 - inside, 0, 1)
    image += 0.05 * np.sin(rows * rng.uniform(55, 75) + 2 * np.abs(columns) + rng.uniform(0, 6))
    blur = size / 26
    image += 0.08 * gaussian_filter(rng.normal(size=(size, size)), blur) * 2 * blur * np.sqrt(np.pi)
    grey = np.clip(image, 0, 1) * 235 + 10
    border = rng.integers(2, 6)
    grey[:border] = grey[-border:] = 0
    return grey.astype(np.uint8)


def ct_volume(seed: int, shape: tuple[int, int, int] = (20, 48, 48)) -> np.ndarray:
    """A trunk in HU, int16 (slices, rows, columns): air, soft tissue, lungs, spine, noise."""
    rng = np.random.default_rng(seed)
    slices, rows, columns = np.meshgrid(*(np.arange(n) / n - 0.5 for n in shape), indexing="ij")
    wide, high = rng.uniform(0.38, 0.44), rng.uniform(0.3, 0.36)
    body = (columns / wide) ** 2 + (rows / high) ** 2 < 1
    hu = np.where(body, rng.uniform(30, 50), -1000.0)
    lung = ((np.abs(columns) - 0.18) / 0.12) ** 2 + (rows / 0.2) ** 2 + (slices / rng.uniform(0.5, 0.8)) ** 2 < 1
    hu = np.where(lung & body, -820, hu)
    hu = np.where(columns**2 + (rows - 0.2) ** 2 < 0.05**2, 600, hu)
    hu += rng.normal(0, 15, shape) + np.where(body, 60 * gaussian_filter(rng.normal(size=shape), 2), 0)
    return np.clip(hu, -1024, 3000).astype(np.int16)


def organ(seed: int, shape: tuple[int, int, int] = (20, 24, 18)) -> tuple[np.ndarray, np.ndarray]:
    """An MR-like image and its mask {0, 1}, shape (x, y, z)."""
    rng = np.random.default_rng(seed)
    grid = np.meshgrid(*(np.arange(n) / n - 0.5 for n in shape), indexing="ij")
    centre = rng.uniform(-0.1, 0.1, 3)
    mask = sum(((axis - c) / 0.25) ** 2 for axis, c in zip(grid, centre, strict=True)) < 1
    image = 200 + 300 * mask + 80 * gaussian_filter(rng.normal(size=shape), 2) * 8 + rng.normal(0, 10, shape)
    return image.clip(1).astype(np.int16), mask.astype(np.uint8)


def write_png(path: Path, array: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path)
    return path


def write_nifti(path: Path, array: np.ndarray, affine: np.ndarray = RAS) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array, affine), path)
    return path


def write_csv(path: Path, rows: Iterable[Mapping[str, Any]]) -> Path:
    listed = list(rows)
    path.parent.mkdir(parents=True, exist_ok=True)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(listed[0]))
        writer.writeheader()
        writer.writerows(listed)
    return path


def write_dicom(path: Path, stored: np.ndarray, **header: Any) -> Path:
    """One DICOM file; keywords set elements (None removes one)."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    syntax = header.pop("TransferSyntaxUID", ExplicitVRLittleEndian)
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = syntax
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    signed = stored.dtype.kind == "i"
    bits = stored.dtype.itemsize * 8
    defaults: dict[str, Any] = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": dataset.file_meta.MediaStorageSOPInstanceUID,
        "Modality": "CT",
        "PatientID": "P1",
        "StudyInstanceUID": "1.2.3",
        "SeriesInstanceUID": "1.2.3.4",
        "ImagePositionPatient": [0, 0, 0],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [0.8, 0.8],
        "SliceThickness": 2.0,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": stored.shape[0],
        "Columns": stored.shape[1],
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(signed),
        "RescaleSlope": 1,
        "RescaleIntercept": 0,
    }
    for name, value in {**defaults, **header}.items():
        if value is not None:
            setattr(dataset, name, value)
    order = ">" if syntax == "1.2.840.10008.1.2.2" else "<"
    dataset.PixelData = stored.astype(stored.dtype.newbyteorder(order)).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)
    return path


def write_series(folder: Path, seed: int, *, slices: int = 6, step: float = 2.0, **header: Any) -> list[Path]:
    """A CT series, one file a slice, HU stored as they are."""
    volume = ct_volume(seed)
    start = (len(volume) - slices) // 2
    unique = {
        "PatientID": f"P{seed}",
        "StudyInstanceUID": f"1.2.{seed}",
        "SeriesInstanceUID": f"1.2.{seed}.4",
        "SliceThickness": step,
    }
    return [
        write_dicom(
            folder / f"{number:03d}.dcm",
            volume[start + number],
            **{**unique, "ImagePositionPatient": [0, 0, step * number], **header},
        )
        for number in range(slices)
    ]


def radiograph_folder(root: Path, count: int = 12) -> list[str]:
    """Radiographs ``images/case_00.png``, with ``labels.csv``, ``boxes.csv`` and ``splits.csv`` that agree."""
    names = [f"case_{number:02d}" for number in range(count)]
    labels, boxes, splits = [], [], []
    for number, name in enumerate(names):
        write_png(root / "images" / f"{name}.png", radiograph(number))
        positive = number % 2
        labels.append({"id": name, "nodule": positive, "effusion": int(number % 3 == 0)})
        if positive:
            boxes.append({"id": name, "class": "nodule", "x0": 10, "y0": 12, "x1": 26, "y1": 30 + number % 4})
        patient, split = f"p{number // 2}", "val" if number >= count - 4 else "train"
        splits.append({"id": name, "patient": patient, "split": split})
    write_csv(root / "labels.csv", labels)
    write_csv(root / "boxes.csv", boxes)
    write_csv(root / "splits.csv", splits)
    return names


def tables(root: Path) -> dict[str, Path]:
    """The tables of :func:`radiograph_folder` as arguments."""
    return {name: root / f"{name}.csv" for name in ("labels", "boxes", "splits")}


def segmentation_folder(root: Path, count: int = 6) -> list[str]:
    """Volumes ``imagesTr/organ_000.nii.gz`` and ``labelsTr/organ_000.nii.gz``."""
    names = [f"organ_{number:03d}" for number in range(count)]
    for number, name in enumerate(names):
        image, mask = organ(number)
        write_nifti(root / "imagesTr" / f"{name}.nii.gz", image)
        write_nifti(root / "labelsTr" / f"{name}.nii.gz", mask)
    return names


def resized(array: np.ndarray, factor: float) -> np.ndarray:
    """Linear interpolation to another size and back, as a copy from another source has been through."""
    small = zoom(array.astype(np.float32), factor, order=1)
    back = zoom(small, np.array(array.shape) / np.array(small.shape), order=1)
    return np.clip(np.round(back), 0, 255).astype(array.dtype)
