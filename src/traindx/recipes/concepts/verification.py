"""The data is verified before any training: the first check of the recipe."""

from __future__ import annotations

import csv
import tempfile
from pathlib import Path

import numpy as np

from traindx.data import verify
from traindx.diagnosis import Diagnosis
from traindx.recipes.concepts.radiographs import Radiographs, split_patients
from traindx.recipes.concepts.settings import Settings
from traindx.recipes.concepts.sources import data_root, load
from traindx.recipes.kit.split import Split

FOLDERS = {
    "tbx11k": ("tbx11k_cxr", "boxes.csv"),
    "covid": ("covid_cxr", "lung_boxes.csv"),
    "ph2": ("ph2_dermoscopy", ""),
}


def verify_source(settings: Settings, *, out: Path | None = None, workers: int | None = None) -> Diagnosis:
    """Verify the images, boxes, labels and split of a run.

    A public set is verified as it lies in its folder; phantoms are written as PNG files with tables first.

    Args:
        settings: Settings of the run.
        out: Folder for evidence, pictures and ``diagnosis.json``; None keeps nothing.
        workers: Processes that read files.

    Raises:
        InputError: There is no such source.
    """
    rows = settings.architecture.map_size[0]
    if settings.source in FOLDERS:
        name, boxes = FOLDERS[settings.source]
        folder = data_root() / name
        if not boxes:
            return verify(folder, labels=folder / "labels.csv", map_size=rows, out=out, workers=workers)
        return verify(folder, boxes=folder / boxes, map_size=rows, out=out, workers=workers)
    data = load(settings.source, images=settings.images, size=settings.architecture.size, seed=settings.split_seed)
    split = split_patients(data, val=settings.val, test=settings.test, seed=settings.split_seed)
    with tempfile.TemporaryDirectory() as written:
        root = Path(written)
        export(data, split, root)
        return verify(
            root / "images",
            labels=root / "labels.csv",
            boxes=root / "boxes.csv",
            splits=root / "splits.csv",
            map_size=rows,
            out=out,
            workers=workers,
        )


def export(data: Radiographs, split: Split, folder: Path) -> None:
    """Write radiographs as 16-bit PNG files, with tables of labels, boxes (relative) and splits.

    Args:
        data: The radiographs.
        split: Their division.
        folder: Where to.
    """
    from PIL import Image

    (folder / "images").mkdir(parents=True, exist_ok=True)
    for name, image in zip(data.ids, data.images, strict=True):
        Image.fromarray(image.astype(np.uint16)).save(folder / "images" / f"{name}.png")
    with (folder / "labels.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["image", "patient_id", *data.concepts])
        for name, patient, row in zip(data.ids, data.patients, data.labels, strict=True):
            table.writerow([f"{name}.png", patient, *("" if np.isnan(v) else int(v) for v in row)])
    with (folder / "boxes.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["image", "label", "x0", "y0", "x1", "y1"])
        for name, boxes in zip(data.ids, data.boxes, strict=True):
            for concept, *corners in boxes.tolist():
                table.writerow([f"{name}.png", data.concepts[int(concept)], *(f"{v:.6f}" for v in corners)])
    with (folder / "splits.csv").open("w", newline="", encoding="utf-8") as stream:
        table = csv.writer(stream)
        table.writerow(["image", "split"])
        for part in ("train", "val", "test"):
            table.writerows([f"{name}.png", part] for name in getattr(split, part))
