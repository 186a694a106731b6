"""PH2 (Mendonça et al., EMBC 2013): dermoscopic images, six clinical concepts that dermatologists read, a diagnosis.

Layout of the folder: ``images/NAME.jpg``; ``labels.csv`` with a column ``image`` and those of :data:`COLUMNS`; and,
where there are any, masks of the lesions as ``masks/NAME.png`` or ``masks/NAME_lesion.bmp``, whose bounding boxes
become the boxes of every concept that is present.
"""

from __future__ import annotations

import csv
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from traindx.errors import InputError
from traindx.recipes.concepts.boxes import NO_BOXES, Boxes
from traindx.recipes.concepts.radiographs import Radiographs
from traindx.recipes.concepts.reading import as_square, read_colour

CLASSES = ("common nevus", "atypical nevus", "melanoma")
COLUMNS: dict[str, tuple[str, dict[str, float]]] = {
    "asymmetry": ("asymmetry", {"0": 0.0, "1": 1.0, "2": 1.0}),
    "atypical network": ("atypical_network", {"T": 0.0, "AT": 1.0}),
    "atypical dots": ("dots_globules", {"A": 0.0, "T": 0.0, "AT": 1.0}),
    "streaks": ("streaks", {"A": 0.0, "P": 1.0}),
    "regression": ("regression_areas", {"A": 0.0, "P": 1.0}),
    "blue-whitish veil": ("blue_whitish_veil", {"A": 0.0, "P": 1.0}),
}
"""Concept to its column and the codes in it. Asymmetry in one axis (1) or both (2) counts; what is typical (T) or
absent (A) is not what a dermatologist is warned by. An empty cell is "not known"."""

MASKS = ("{}.png", "{}_lesion.bmp", "{}_lesion.png", "{}.bmp")


def ph2(folder: Path) -> Radiographs:
    """The set in a folder. Every image is taken for another patient: the set names lesions and no patients.

    Raises:
        InputError: A table, column, code or image is missing or not understood.
    """
    path = folder / "labels.csv"
    if not path.is_file():
        raise InputError(f"{path} does not exist", expected="a table with a row for each image")
    with path.open(encoding="utf-8", newline="") as stream:
        reader = csv.DictReader(stream)
        wanted = ["image", "diagnosis", *(column for column, _ in COLUMNS.values())]
        missing = [column for column in wanted if column not in (reader.fieldnames or ())]
        if missing:
            raise InputError(f"{path} has no column {', '.join(missing)}", expected=", ".join(wanted))
        rows = list(reader)
    if not rows:
        raise InputError(f"{path} has no rows", expected="a row for each image")
    names = tuple(Path(row["image"]).stem for row in rows)
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise InputError(f"{path} names {', '.join(twice)} twice", expected="one row for each image")
    labels = np.array(
        [
            [_code(row[column], codes, f"{path}, {row['image']}, {column}") for column, codes in COLUMNS.values()]
            for row in rows
        ],
        np.float32,
    )
    classes = {name: float(index) for index, name in enumerate(CLASSES)}
    task = [_code(row["diagnosis"], classes, f"{path}, {row['image']}, diagnosis") for row in rows]
    boxes = tuple(_boxes(folder / "masks", name, labels[index]) for index, name in enumerate(names))
    return Radiographs(
        "ph2",
        np.stack([as_square(read_colour(folder / "images" / row["image"])).astype(np.uint8) for row in rows]),
        names,
        names,
        tuple(COLUMNS),
        labels,
        boxes,
        CLASSES,
        np.nan_to_num(np.asarray(task), nan=-1).astype(np.int64),
    )


def _code(value: str | None, codes: dict[str, float], where: str) -> float:
    text = (value or "").strip()
    if text and text not in codes:
        raise InputError(f"{where}: {text!r}", expected=" or ".join(codes), do="correct the table, or empty the cell")
    return codes[text] if text else float("nan")


def _boxes(masks: Path, name: str, labels: NDArray[np.float32]) -> Boxes:
    """The lesion's bounding box for each concept that is present; none without a mask or inside an empty one."""
    path = next((masks / form.format(name) for form in MASKS if (masks / form.format(name)).is_file()), None)
    if path is None:
        return NO_BOXES
    inside = as_square(read_colour(path)).mean(axis=2) > 127
    if not inside.any():
        return NO_BOXES
    side = len(inside)
    rows, columns = (np.flatnonzero(inside.any(axis=axis)) for axis in (1, 0))
    corners = (columns[0] / side, rows[0] / side, (columns[-1] + 1) / side, (rows[-1] + 1) / side)
    return np.asarray([(k, *corners) for k in np.flatnonzero(labels == 1)], np.float32).reshape(-1, 5)
