"""CT volumes from any folder, in NIfTI or as DICOM series, with a table that says who is trained on."""

from __future__ import annotations

import csv
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from traindx.errors import InputError
from traindx.recipes.kit import dicom_series
from traindx.recipes.xray2ct.population import AIR_HU, CT, low_passed, read_ct
from traindx.recipes.xray2ct.sources import Patients

SPLITS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val"}
"""What the column ``split`` may say; patients of other splits are left alone."""

_OBLIQUE = 1e-2  # of a direction's largest part below 1: 8 degrees


def load_folder(folder: Path, table: Path, size: int, train: int, val: int) -> tuple[Patients, Patients]:
    """Read the training and validation patients of a folder onto one grid.

    All are resampled to the median field of view of the training patients, around the centre of each scan, with air
    where a scan ends: a voxel has the same size in all of them, and so line integrals are what they are.

    Args:
        folder: NIfTI files, and folders of DICOM files, one a patient.
        table: CSV with the columns ``id`` (name of the file or folder, without suffix) and ``split``.
        size: Voxels along each axis.
        train: Most training patients.
        val: Most validation patients.

    Raises:
        InputError: The table or a file cannot be used, or a patient is missing or in two splits.
    """
    found = volumes_in(folder)
    chosen = read_split(table)
    parts: dict[str, list[tuple[str, CT]]] = {}
    for split, most in (("train", train), ("val", val)):
        names = [name for name, part in chosen.items() if part == split][:most]
        if not names:
            raise InputError(f"{table} names no patient of the split {split!r}", expected="at least one")
        for name in names:
            if name not in found:
                raise InputError(
                    f"{table} names {name}, which is not in {folder}",
                    expected=f"one of its {len(found)} volumes, for example {next(iter(found), 'none')}",
                )
        parts[split] = [(name, read_volume(found[name])) for name in names]
    extents = np.array([_extent(ct) for _, ct in parts["train"]])
    field = tuple(float(value) for value in np.median(extents, axis=0))
    return _patients(parts["train"], field, size), _patients(parts["val"], field, size)


def volumes_in(folder: Path) -> dict[str, Path]:
    """Every volume of a folder by its name: NIfTI files, and folders that hold DICOM files.

    Raises:
        InputError: The folder is not there, or two volumes have one name.
    """
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder", expected="a folder of CT volumes")
    found: dict[str, Path] = {}
    for path in sorted(folder.iterdir()):
        if path.is_dir() and not any(item.is_file() for item in path.iterdir()):
            continue
        if path.is_file() and not path.name.endswith((".nii", ".nii.gz")):
            continue
        name = path.name.removesuffix(".gz").removesuffix(".nii") if path.is_file() else path.name
        if name in found:
            raise InputError(f"{found[name]} and {path} have one name", expected="a name for every patient")
        found[name] = path
    return found


def read_split(table: Path) -> dict[str, str]:
    """Patient to split, in the order of the table; see :data:`SPLITS`.

    Raises:
        InputError: It cannot be read, lacks a column, or names a patient twice.
    """
    try:
        with table.open(newline="", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"{table} cannot be read: {error}", expected="a CSV file") from error
    if not rows or not {"id", "split"} <= set(rows[0]):
        raise InputError(
            f"{table} has the columns {', '.join(rows[0]) if rows else 'of an empty file'}",
            expected="the columns id and split",
        )
    split: dict[str, str] = {}
    for row in rows:
        name, part = row["id"].strip(), (row["split"] or "").strip().lower()
        if name in split and split[name] != SPLITS.get(part, part):
            raise InputError(
                f"{table} has {name} in {split[name]} and in {part}", expected="every patient in one split"
            )
        split[name] = SPLITS.get(part, part)
    return split


def read_volume(path: Path) -> CT:
    """Read a NIfTI file, or a folder of DICOM files of one series.

    Raises:
        InputError: It cannot be used.
    """
    return read_series(path) if path.is_dir() else read_ct(path)


def read_series(folder: Path) -> CT:
    """Read a DICOM series and turn it into the recipe's axes.

    Slices are put in order by their position, and the rescale slope and intercept are applied; see
    :func:`traindx.recipes.kit.dicom_series.read`.

    Raises:
        InputError: There is no series or more than one, slices are missing or oblique, or it is no CT.
    """
    series = dicom_series.read(folder)
    directions = series.affine[:3, :3] / np.linalg.norm(series.affine[:3, :3], axis=0)
    if np.abs(np.abs(directions).max(axis=0) - 1).max() > _OBLIQUE:
        raise InputError(f"{folder}: the slices are oblique", expected="slices along the axes of the patient")
    return _turned(series.values, series.affine, folder)


def _turned(volume: np.ndarray, affine: np.ndarray, path: Path) -> CT:
    """A volume with the recipe's axes, by way of the NIfTI reader that knows what Hounsfield units are."""
    import tempfile

    import nibabel

    with tempfile.TemporaryDirectory() as temporary:
        file = Path(temporary) / f"{path.name}.nii"
        nibabel.save(nibabel.Nifti1Image(volume, affine), file)
        try:
            return read_ct(file)
        except InputError as error:
            raise InputError(str(error).replace(str(file), str(path)), expected="a CT series") from error


def _extent(ct: CT) -> tuple[float, ...]:
    return tuple(count * size for count, size in zip(ct.hu.shape, ct.spacing_mm, strict=True))


def _patients(volumes: Sequence[tuple[str, CT]], field: tuple[float, ...], size: int) -> Patients:
    d, h, w = (extent / size for extent in field)
    hu = torch.stack([on_grid(ct, field, size) for _, ct in volumes])
    return Patients(hu[:, None], tuple(name for name, _ in volumes), (d, h, w))


def on_grid(ct: CT, field_mm: tuple[float, ...], size: int) -> Tensor:
    """Low-pass and resample a CT to ``size`` voxels a side over a field of view around its centre, air beyond it.

    Args:
        ct: The volume.
        field_mm: Field of view along D, H, W.
        size: Voxels along each axis.

    Returns:
        HU, shape ``(size, size, size)``.
    """
    d, h, w = (field / size / own for field, own in zip(field_mm, ct.spacing_mm, strict=True))
    smooth = low_passed(ct.hu.clamp_min(AIR_HU), (d, h, w))
    axis = (torch.arange(size) + 0.5) * 2 / size - 1
    z, y, x = (axis * field / own for field, own in zip(field_mm, _extent(ct), strict=True))
    grid = torch.stack(torch.meshgrid(z, y, x, indexing="ij")[::-1], dim=-1)[None]
    return F.grid_sample((smooth - AIR_HU)[None, None], grid, align_corners=False)[0, 0] + AIR_HU
