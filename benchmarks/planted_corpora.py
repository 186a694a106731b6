"""Real data in the form people train from, and tools that put one defect into it; see :mod:`planted_defects`."""

from __future__ import annotations

import csv
import os
import shutil
from collections.abc import Callable, Iterable
from importlib.resources import as_file, files
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from PIL import Image
from scipy.ndimage import zoom

ROOT = Path(os.environ.get("TRAINDX_DATA", Path(__file__).resolve().parents[2] / "shared" / "data"))
"""The public sets; see CONTRIBUTING."""

Put = Callable[[Path], Any]
Rows = list[dict[str, Any]]


def volumes(root: Path, count: int = 24) -> None:
    """Hippocampus MR with masks, one intensity scale (float images of similar range), as NIfTI."""
    source = ROOT / "hippocampus"
    taken = 0
    for path in sorted((source / "imagesTr").iterdir()):
        image = nib.load(path)
        if image.get_data_dtype() != np.float32 or not 300 < np.percentile(np.asarray(image.dataobj), 99) < 2000:
            continue
        for kind in ("imagesTr", "labelsTr"):
            (root / kind).mkdir(parents=True, exist_ok=True)
            shutil.copy(source / kind / path.name, root / kind / path.name)
        taken += 1
        if taken == count:
            return


def radiographs(root: Path, count: int = 80) -> None:
    """Tuberculosis radiographs as PNG with labels, boxes and splits; half of the images as negatives of a class."""
    pack = np.load(ROOT / "tbx11k_cxr" / "images256.npz")
    names = [str(name) for name in pack["ids"][:count]]
    kept = set(names)
    (root / "images").mkdir(parents=True)
    for name, image in zip(names, pack["image"][:count], strict=True):
        Image.fromarray(image).save(root / "images" / f"{name}.png")
    rows = [row for row in read(ROOT / "tbx11k_cxr" / "boxes.csv") if row["id"] in kept]
    boxes = [{**{key: row[key] for key in ("id", "x0", "y0", "x1", "y1")}, "class": row["finding"]} for row in rows]
    write(root / "boxes.csv", boxes)
    classes = sorted({row["finding"] for row in rows})
    positive = {(row["id"], row["finding"]) for row in rows}
    labels = [{"id": name, **{kind: int((name, kind) in positive) for kind in classes}} for name in names]
    write(root / "labels.csv", labels)
    split = ("train", "train", "train", "val")
    rows = [{"id": name, "patient": f"p{k}", "split": split[k % 4]} for k, name in enumerate(names)]
    write(root / "splits.csv", rows)


def ct_series(root: Path, patients: int = 4) -> None:
    """CT series as DICOM, a patient a folder, from volumes in HU."""
    for number, volume in enumerate(ct_volumes(patients)):
        for place in range(volume.shape[2]):
            write_slice(root / f"patient{number}" / f"{place:03d}.dcm", volume[:, :, place].T, number, place)


def ct_volumes(count: int) -> list[np.ndarray]:
    """HU volumes (x, y, z), 24 slices each: of different patients with the public sets, else of one patient's parts."""
    folder = ROOT / "ct_singles"
    names = ("CRLM-CT-1004_3mm", "LIDC-IDRI-0001_3mm", "TotalSegmentator-example_ct_3mm", "InVesalius-Cranium_3mm")
    if folder.exists():
        found = [np.asarray(nib.load(folder / f"{name}.nii.gz").dataobj) for name in names]
    else:
        with as_file(files("traindx") / "assets" / "lidc_idri_0001_3mm.nii.gz") as path:
            chest = np.asarray(nib.load(path).dataobj)
        found = [chest[..., start : start + 26] for start in (0, 28, 56, 82)]
    return [
        volume[..., volume.shape[2] // 2 - 12 : volume.shape[2] // 2 + 12].astype(np.int16) for volume in found[:count]
    ]


def write_slice(path: Path, stored: np.ndarray, patient: int, place: int, **header: Any) -> None:
    """One CT slice, HU stored as they are."""
    from pydicom.dataset import Dataset, FileMetaDataset
    from pydicom.uid import CTImageStorage, ExplicitVRLittleEndian, generate_uid

    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    dataset.file_meta.MediaStorageSOPClassUID = CTImageStorage
    dataset.file_meta.MediaStorageSOPInstanceUID = generate_uid()
    bits = stored.dtype.itemsize * 8
    values = {
        "SOPClassUID": CTImageStorage,
        "SOPInstanceUID": dataset.file_meta.MediaStorageSOPInstanceUID,
        "Modality": "CT",
        "PatientID": f"PAT-{patient}",
        "StudyInstanceUID": f"1.2.826.{patient}.1",
        "SeriesInstanceUID": f"1.2.826.{patient}.2",
        "ImagePositionPatient": [-150, -150, 3 * place],
        "ImageOrientationPatient": [1, 0, 0, 0, 1, 0],
        "PixelSpacing": [3, 3],
        "SliceThickness": 3,
        "SamplesPerPixel": 1,
        "PhotometricInterpretation": "MONOCHROME2",
        "Rows": stored.shape[0],
        "Columns": stored.shape[1],
        "BitsAllocated": bits,
        "BitsStored": bits,
        "HighBit": bits - 1,
        "PixelRepresentation": int(stored.dtype.kind == "i"),
        "WindowCenter": 40,
        "WindowWidth": 400,
        "RescaleSlope": 1,
        "RescaleIntercept": 0,
        **header,
    }
    for name, value in values.items():
        if value is not None:
            setattr(dataset, name, value)
    dataset.PixelData = np.ascontiguousarray(stored).tobytes()
    path.parent.mkdir(parents=True, exist_ok=True)
    dataset.save_as(path, enforce_file_format=True)


CORPORA: dict[str, Callable[[Path], None]] = {"volumes": volumes, "radiographs": radiographs, "ct": ct_series}


def options_of(corpus: str, root: Path) -> dict[str, Any]:
    """What the verification is told of a corpus."""
    if corpus == "volumes":
        return {"task": "segmentation", "label_values": (0, 1, 2)}
    if corpus == "radiographs":
        given: dict[str, Any] = {name: root / f"{name}.csv" for name in ("labels", "boxes", "splits")}
        return {**given, "task": "concepts"}
    return {}


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as stream:
        return list(csv.DictReader(stream))


def write(path: Path, rows: Iterable[dict[str, Any]]) -> None:
    listed = list(rows)
    with path.open("w", newline="", encoding="utf-8") as stream:
        writer = csv.DictWriter(stream, fieldnames=list(listed[0]))
        writer.writeheader()
        writer.writerows(listed)


def table(name: str, change: Callable[[list[dict[str, Any]]], Any]) -> Put:
    """Change the rows of a table."""

    def put(root: Path) -> None:
        rows: list[dict[str, Any]] = list(read(root / name))
        changed = change(rows)
        write(root / name, rows if changed is None else changed)

    return put


def each(number: int, key: str, value: Any) -> Callable[[list[dict[str, Any]]], None]:
    """Set one cell."""
    return lambda rows: rows[number].__setitem__(key, value)


def nifti(kind: str, number: int, change: Callable[[np.ndarray, np.ndarray], Any]) -> Put:
    """Change voxels and affine of one volume; ``change`` returns the array, or array and affine."""

    def put(root: Path) -> None:
        path = sorted((root / kind).iterdir())[number]
        image = nib.load(path)
        changed = change(np.asanyarray(image.dataobj).copy(), image.affine.copy())
        array, affine = changed if isinstance(changed, tuple) else (changed, image.affine)
        nib.save(nib.Nifti1Image(array, affine), path)

    return put


def png(number: int, change: Callable[[np.ndarray], np.ndarray], suffix: str = ".png") -> Put:
    """Change one radiograph."""

    def put(root: Path) -> None:
        path = sorted((root / "images").iterdir())[number]
        image = change(np.asarray(Image.open(path)))
        path.unlink()
        Image.fromarray(image).save(path.with_suffix(suffix))

    return put


def copied(source: int, target: int, change: Callable[[np.ndarray], np.ndarray]) -> Put:
    """Put a changed copy of one radiograph in the place of another."""

    def put(root: Path) -> None:
        paths = sorted((root / "images").iterdir())
        Image.fromarray(change(np.asarray(Image.open(paths[source])))).save(paths[target])

    return put


def dicom(patient: int, change: Callable[[Any], None]) -> Put:
    """Change every slice of one patient through its pydicom data set."""

    def put(root: Path) -> None:
        import pydicom

        for path in sorted((root / f"patient{patient}").iterdir()):
            dataset = pydicom.dcmread(path)
            change(dataset)
            dataset.save_as(path)

    return put


def pixels(dataset: Any, change: Callable[[np.ndarray], np.ndarray]) -> None:
    """Replace the stored pixels."""
    array = change(dataset.pixel_array)
    dataset.BitsAllocated = dataset.BitsStored = array.dtype.itemsize * 8
    dataset.HighBit = dataset.BitsStored - 1
    dataset.PixelRepresentation = int(array.dtype.kind == "i")
    dataset.PixelData = np.ascontiguousarray(array).tobytes()


def cut(folder: str, number: int, share: float) -> Put:
    """Cut the end off a file."""

    def put(root: Path) -> None:
        path = sorted((root / folder).iterdir())[number]
        data = path.read_bytes()
        path.write_bytes(data[: int(len(data) * share)])

    return put


def gone(folder: str, number: int) -> Put:
    """Remove a file."""
    return lambda root: sorted((root / folder).iterdir())[number].unlink()


def circle(array: np.ndarray, value: int) -> np.ndarray:
    """Padding outside the circular field of view."""
    rows, columns = np.mgrid[: array.shape[0], : array.shape[1]]
    centre = (np.array(array.shape) - 1) / 2
    outside = np.hypot(rows - centre[0], columns - centre[1]) > min(array.shape) / 2
    return np.where(outside, value, array).astype(array.dtype)


def halved(image: np.ndarray) -> np.ndarray:
    return np.asarray(Image.fromarray(image).resize((128, 128)).resize((256, 256)))


def interpolated(mask: np.ndarray, affine: np.ndarray) -> np.ndarray:
    small = zoom(mask.astype(np.float32), 0.5, order=1)
    return zoom(small, np.array(mask.shape) / np.array(small.shape), order=1).astype(np.float32)


def unlabelled(root: Path) -> None:
    """Value 3 = not labelled around the organ in every mask, as sparse annotation leaves it."""
    for path in sorted((root / "labelsTr").iterdir()):
        image = nib.load(path)
        mask = np.asanyarray(image.dataobj).copy().astype(np.uint8)
        inside = np.zeros(mask.shape, bool)
        inside[tuple(slice(size // 4, 3 * size // 4) for size in mask.shape)] = True
        nib.save(nib.Nifti1Image(np.where(inside, mask, 3).astype(np.uint8), image.affine), path)


def moved(affine: np.ndarray, *millimetres: float) -> np.ndarray:
    result = affine.copy()
    result[:3, 3] += millimetres
    return result


def windowed(array: np.ndarray) -> np.ndarray:
    """A 12-bit radiograph through a soft-tissue CT window."""
    return ((np.clip(array.astype(float) * 16 - 160, -160, 240) + 160) / 400 * 255).astype(np.uint8)


def every_png(change: Callable[[np.ndarray], np.ndarray], step: int = 1) -> Put:
    def put(root: Path) -> None:
        for path in sorted((root / "images").iterdir())[::step]:
            Image.fromarray(change(np.asarray(Image.open(path)))).save(path)

    return put


def shuffled_names(root: Path) -> None:
    paths = sorted((root / "patient1").iterdir())
    for number, path in enumerate(paths):
        path.rename(path.with_name(f"IM{(number * 7) % len(paths)}.dcm"))


def no_suffix(root: Path) -> None:
    for path in sorted((root / "patient1").iterdir()):
        path.rename(path.with_suffix(""))


def also_in_val(root: Path) -> None:
    """The same patients in train and val folders: half of the slices each."""
    for path in sorted(root.glob("patient*/*.dcm")):
        number = int(path.stem)
        target = root / ("train" if number % 2 else "val") / path.parent.name / path.name
        target.parent.mkdir(parents=True, exist_ok=True)
        path.rename(target)


def every_row(change: Callable[[dict[str, Any]], Any]) -> Callable[[Rows], None]:
    """Change all rows of a table alike."""

    def apply(rows: Rows) -> None:
        for row in rows:
            change(row)

    return apply


def scaled(factor: float) -> Callable[[dict[str, Any]], None]:
    """Multiply the corners of a box."""
    return lambda row: row.update({key: float(row[key]) * factor for key in ("x0", "y0", "x1", "y1")})


def both(change: Callable[[np.ndarray, np.ndarray], Any]) -> Put:
    """Change the image and the mask of one case alike."""

    def put(root: Path) -> None:
        for kind in ("imagesTr", "labelsTr"):
            nifti(kind, 3, change)(root)

    return put


def everybody(change: Callable[[Any], Any]) -> Put:
    """Change the slices of all patients."""

    def put(root: Path) -> None:
        for folder in root.iterdir():
            dicom(int(folder.name.removeprefix("patient")), change)(root)

    return put


def unsigned(dataset: Any) -> None:
    """Store HU + 1024 without saying so."""
    pixels(dataset, lambda a: (a.clip(-1024) + 1024).astype(np.uint16))


def without_rescale(dataset: Any) -> None:
    unsigned(dataset)
    del dataset.RescaleSlope, dataset.RescaleIntercept


def another_window(dataset: Any) -> None:
    dataset.WindowCenter, dataset.WindowWidth = 8000, 4000


def with_gap(root: Path) -> None:
    for path in sorted((root / "patient1").iterdir())[8:11]:
        path.unlink()
