"""Where volumes come from: the packaged patient under deformation, or the head-and-neck CT of OpenKBP."""

from __future__ import annotations

import csv
import os
from dataclasses import dataclass
from importlib.resources import as_file, files
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from traindx.diagnosis import Diagnosis
from traindx.errors import InputError
from traindx.recipes.xray2ct.population import ASSET, deformed_copies, resized

Source = Literal["auto", "embedded", "openkbp", "folder"]

OPENKBP_SPACING_MM = (6.0, 9.36, 9.36)
"""Median voxel size of the patients with full coverage at 64 voxels a side. Their fields of view differ (6 to 10 mm in
plane, 3 to 6 mm between slices); all are rendered as if they had this one, so lengths are relative to the field of
view, and the line integrals of a patient are off by the ratio of the true size to this one."""

OPENKBP_VOXELS = 64


VALIDATION_FROM = 500_000
"""Number of the first copy used for validation: no number of training volumes makes it a training volume."""


@dataclass(frozen=True)
class Patients:
    """Volumes of one split.

    Attributes:
        hu: Raw Hounsfield units, shape ``(N, 1, D, H, W)``.
        ids: A name each.
        spacing_mm: Voxel size along D, H, W, the same for all.
    """

    hu: Tensor
    ids: tuple[str, ...]
    spacing_mm: tuple[float, float, float]

    def __len__(self) -> int:
        return len(self.ids)


def resolve(source: Source) -> tuple[Source, Path | None]:
    """Say where volumes come from: ``auto`` means OpenKBP where ``TRAINDX_DATA`` is set, else the packaged patient.

    Raises:
        InputError: OpenKBP is asked for and not there.
    """
    root = os.environ.get("TRAINDX_DATA")
    if source == "embedded" or (source == "auto" and not root):
        return "embedded", None
    if not root:
        raise InputError("the source openkbp needs real data", expected="the environment variable TRAINDX_DATA")
    folder = Path(root) / "openkbp_ct"
    if not (folder / "ct64.npz").exists():
        raise InputError(
            f"{folder / 'ct64.npz'} does not exist",
            expected="the folder that TRAINDX_DATA names to hold openkbp_ct/ct64.npz",
            do="unset TRAINDX_DATA to use the packaged patient",
        )
    return "openkbp", folder


def verified(source: Source, out: Path, volumes: Path | None = None, table: Path | None = None) -> Diagnosis:
    """Verify the volumes of a source as they lie on disk; the packaged patient is one file.

    Args:
        source: See :func:`resolve`.
        out: Folder for the evidence.
        volumes: The folder of the source ``folder``.
        table: Its split.

    Raises:
        InputError: OpenKBP is asked for and not there.
    """
    from traindx.data import verify

    if volumes is not None and table is not None:
        return verify(volumes, splits=table, out=out)
    kind, folder = resolve(source)
    if kind == "embedded":
        with as_file(files("traindx.assets") / ASSET) as path:
            return verify(path, out=out)
    assert folder is not None
    return verify(folder, splits=folder / "cases.csv", out=out)


def load(source: Source, size: int, seed: int, train: int, val: int) -> tuple[Patients, Patients]:
    """Volumes for training and for validation, split by patient (of the packaged one: by deformed copy).

    Args:
        source: See :func:`resolve`.
        size: Voxels along each axis.
        seed: Seed of the deformations; OpenKBP has its own split and needs none.
        train: Most training volumes.
        val: Most validation volumes.
    """
    kind, folder = resolve(source)
    if kind == "embedded":
        return _copies(train, size, seed, 0), _copies(val, size, seed, VALIDATION_FROM)
    assert folder is not None
    return _openkbp(folder, size, "train", train), _openkbp(folder, size, "valid", val)


def _copies(count: int, size: int, seed: int, first: int) -> Patients:
    hu, spacing = deformed_copies(count, size, seed, first=first)
    return Patients(hu, tuple(f"copy-{seed}-{index}" for index in range(first, first + count)), spacing)


def _openkbp(folder: Path, size: int, split: str, most: int) -> Patients:
    """Patients of a split whose scan covers head and shoulders, in the order of the file.

    Stored axes are (row: 0 = anterior, column, slice: 0 = superior), so slices come first here.
    """
    with (folder / "cases.csv").open(newline="", encoding="utf-8") as file:
        covered = {row["id"] for row in csv.DictReader(file) if row["full_coverage"] == "1"}
    with np.load(folder / "ct64.npz") as archive:
        ids, splits = archive["ids"].tolist(), archive["split"].tolist()
        chosen = [k for k, name in enumerate(ids) if name in covered and splits[k] == split][:most]
        stored = archive["hu"][chosen].astype(np.float32)
    volumes = torch.from_numpy(np.ascontiguousarray(stored.transpose(0, 3, 1, 2)))
    if size != OPENKBP_VOXELS:
        volumes = torch.stack([resized(volume, size) for volume in volumes])
    d, h, w = (spacing * OPENKBP_VOXELS / size for spacing in OPENKBP_SPACING_MM)
    return Patients(volumes[:, None], tuple(ids[k] for k in chosen), (d, h, w))
