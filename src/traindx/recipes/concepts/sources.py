"""Where images come from: three public sets below ``TRAINDX_DATA``, or the phantom."""

from __future__ import annotations

import csv
import os
from collections import defaultdict
from pathlib import Path

import numpy as np

from traindx.errors import InputError
from traindx.recipes.concepts.boxes import Boxes
from traindx.recipes.concepts.dermoscopy import ph2
from traindx.recipes.concepts.phantom import phantom
from traindx.recipes.concepts.radiographs import Radiographs

SOURCES = ("tbx11k", "covid", "ph2", "phantom")


def data_root() -> Path:
    """``TRAINDX_DATA``, or ``../shared/data`` beside the checkout."""
    default = Path(__file__).resolve().parents[5] / "shared" / "data"
    return Path(os.environ.get("TRAINDX_DATA", str(default)))


def load(source: str, *, images: int = 240, size: int = 64, seed: int = 0) -> Radiographs:
    """Radiographs of a source.

    Args:
        source: ``tbx11k``, ``covid``, ``ph2`` or ``phantom``.
        images: Number of phantoms.
        size: Side of the phantoms in pixels.
        seed: Seed of the phantoms.

    Raises:
        InputError: There is no such source, or its folder is missing.
    """
    if source == "phantom":
        return phantom(images, size=size, seed=seed)
    folders = {"tbx11k": ("tbx11k_cxr", tbx11k), "covid": ("covid_cxr", covid), "ph2": ("ph2_dermoscopy", ph2)}
    if source not in folders:
        raise InputError(f"there is no source {source!r}", expected=", ".join(SOURCES))
    name, read = folders[source]
    folder = data_root() / name
    if not folder.is_dir():
        raise InputError(
            f"{folder} does not exist",
            expected=f"the folder {name} below TRAINDX_DATA",
            do="set TRAINDX_DATA, or use the source phantom",
        )
    return read(folder)


def tbx11k(folder: Path) -> Radiographs:
    """TBX11K (Liu et al., CVPR 2020): tuberculosis findings with boxes. Every image is of another patient.

    The set holds no healthy radiograph: a concept's negatives are radiographs with the other finding only. Images
    without a box are left out, since nothing says what they show. The task is which findings there are.
    """
    stored = np.load(folder / "images256.npz")
    concepts = ("ActiveTuberculosis", "ObsoletePulmonaryTuberculosis")
    boxes = _boxes(folder / "boxes.csv", "finding", {name: index for index, name in enumerate(concepts)})
    keep = [index for index, name in enumerate(stored["ids"]) if str(name) in boxes]
    ids = tuple(str(stored["ids"][index]) for index in keep)
    labels = np.zeros((len(ids), len(concepts)), np.float32)
    for row, name in enumerate(ids):
        labels[row, boxes[name][:, 0].astype(int)] = 1
    task = np.where(labels.sum(axis=1) > 1, 2, np.where(labels[:, 1] > 0, 1, 0)).astype(np.int64)
    return Radiographs(
        "tbx11k",
        stored["image"][keep],
        ids,
        ids,
        concepts,
        labels,
        tuple(boxes[name] for name in ids),
        ("active", "obsolete", "both"),
        task,
    )


_UNKNOWN = ("", "todo", "unknown")


def covid(folder: Path) -> Radiographs:
    """COVID-19 image collection (Cohen et al., 2020): findings, lung boxes, severity; several images a patient.

    Concepts: COVID-19 and extensive disease (geographic extent of at least half its scale of 8, where a radiologist
    scored it; not known elsewhere). Boxes of a positive concept are both lungs: disease lies in them, and no finer box
    is drawn. Images whose finding is not stated (``todo``) are left out. Findings and hospitals go together in this
    set, so a classifier may tell sources apart and not diseases.
    """
    stored = np.load(folder / "covid_cxr_256.npz")
    with (folder / "metadata.csv").open(encoding="utf-8", newline="") as stream:
        rows = {row["id"]: row for row in csv.DictReader(stream)}
    with (folder / "severity_scores.csv").open(encoding="utf-8", newline="") as stream:
        extent = {row["filename"]: float(row["geographic_mean"]) for row in csv.DictReader(stream)}
    lungs = _boxes(folder / "lung_boxes.csv", "lung", {"Left Lung": 0, "Right Lung": 0})
    concepts = ("COVID-19", "extensive")
    keep, labels, boxes, task = [], [], [], []
    for index, name in enumerate(str(one) for one in stored["ids"]):
        finding = rows[name]["finding"].strip()
        if finding.lower() in _UNKNOWN or name not in lungs:
            continue
        covid_label = float("COVID-19" in finding)
        severe = float(extent[name] >= 4.0) if name in extent else float("nan")
        present = [k for k, value in enumerate((covid_label, severe)) if value == 1]
        drawn = [np.column_stack([np.full(len(lungs[name]), k, np.float32), lungs[name][:, 1:]]) for k in present]
        keep.append(index)
        labels.append((covid_label, severe))
        boxes.append(np.concatenate(drawn).astype(np.float32) if drawn else np.zeros((0, 5), np.float32))
        task.append(int(covid_label))
    ids = tuple(str(stored["ids"][index]) for index in keep)
    return Radiographs(
        "covid",
        stored["image"][keep],
        ids,
        tuple(rows[name]["patientid"] for name in ids),
        concepts,
        np.asarray(labels, np.float32),
        tuple(boxes),
        ("other", "COVID-19"),
        np.asarray(task, np.int64),
    )


def _boxes(path: Path, column: str, index_of: dict[str, int]) -> dict[str, Boxes]:
    """Boxes by image name; rows of classes that are not asked for are left out."""
    found: dict[str, list[tuple[float, ...]]] = defaultdict(list)
    with path.open(encoding="utf-8", newline="") as stream:
        for row in csv.DictReader(stream):
            if row[column] in index_of:
                corners = (float(row[key]) for key in ("x0", "y0", "x1", "y1"))
                found[row["id"]].append((index_of[row[column]], *corners))
    return {name: np.asarray(rows, np.float32).reshape(-1, 5) for name, rows in found.items()}
