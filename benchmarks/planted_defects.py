"""Planted defects: every data fault put into real data, one at a time, beside an untouched twin.

    python benchmarks/planted_defects.py --out benchmarks/results/planted_defects.json

A plant changes a copy of a corpus of real data (:mod:`planted_corpora`) in one respect and names the rule that must
find it. Counted are: plants found by their rule with the standing it must have; other rules that speak about a plant
although it does not concern them; and findings beyond notes on the untouched twin. The first must be all, the others
none.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from planted_corpora import (
    CORPORA,
    ROOT,
    Put,
    also_in_val,
    another_window,
    both,
    circle,
    copied,
    cut,
    dicom,
    each,
    every_png,
    every_row,
    everybody,
    gone,
    halved,
    interpolated,
    moved,
    nifti,
    no_suffix,
    options_of,
    pixels,
    png,
    scaled,
    shuffled_names,
    table,
    unlabelled,
    unsigned,
    windowed,
    with_gap,
    without_rescale,
)  # fmt: skip

from traindx.data import verify
from traindx.finding import Finding, Severity


@dataclass(frozen=True)
class Plant:
    """One defect.

    Attributes:
        name: What is wrong, in a few words.
        code: Rule that must find it.
        corpus: Corpus it is planted into.
        put: Changes the folder.
        standing: Standing the finding must have at least.
        also: Other codes that are right on this plant too, because the defect has more than one face.
        options: Arguments of the verification, beside those of the corpus.
    """

    name: str
    code: str
    corpus: str
    put: Put
    standing: str = "suspected"
    also: tuple[str, ...] = ()
    options: dict[str, Any] = field(default_factory=dict)


SHOWN = "demonstrated"
ACTIVE = "ActiveTuberculosis"
LABELS, BOXES, SPLITS = "labels.csv", "boxes.csv", "splits.csv"
FLIP = np.diag([-1, -1, 1, 1])


def in_volumes(name: str, code: str, put: Put, **more: Any) -> Plant:
    return Plant(name, code, "volumes", put, **more)


def in_radiographs(name: str, code: str, put: Put, **more: Any) -> Plant:
    return Plant(name, code, "radiographs", put, **more)


def in_ct(name: str, code: str, put: Put, **more: Any) -> Plant:
    return Plant(name, code, "ct", put, **more)


def image(change: Any) -> Put:
    return nifti("imagesTr", 3, change)


def mask(change: Any) -> Put:
    return nifti("labelsTr", 3, change)


def swapped(rows: list[dict[str, Any]]) -> None:
    rows[5].update(x0=rows[5]["x1"], x1=rows[5]["x0"])


def two_positives(rows: list[dict[str, Any]]) -> None:
    for number, row in enumerate(rows):
        row["rare"] = int(number < 2)


def as_sizes(row: dict[str, Any]) -> None:
    row.update(x1=float(row["x1"]) - float(row["x0"]), y1=float(row["y1"]) - float(row["y0"]))


def eight_pixels(row: dict[str, Any]) -> None:
    row.update(x1=float(row["x0"]) + 8 / 224, y1=float(row["y0"]) + 8 / 224)


def eight_bits(dataset: Any) -> None:
    pixels(dataset, lambda a: ((a.clip(-160, 240) + 160) / 400 * 255).astype(np.uint8))


def two_voxels(a: np.ndarray, _: np.ndarray) -> np.ndarray:
    return np.where(np.arange(a.size).reshape(a.shape) // 2 == 5000, 1, 0).astype(np.uint8)


SURE = {"standing": SHOWN}
PLANTS = (
    in_volumes("NaN in a volume", "D103", image(lambda a, _: np.where(a > a.max() * 0.9, np.nan, a)), **SURE),
    in_volumes("infinite voxel", "D103", image(lambda a, _: np.where(a == a.max(), np.inf, a)), **SURE),
    in_radiographs(
        "label column all zero",
        "D104",
        table(LABELS, every_row(lambda row: row.update({ACTIVE: 0}))),
        also=("D107",),
        **SURE,
    ),
    in_radiographs(
        "empty label column",
        "D104",
        table(LABELS, every_row(lambda row: row.update({ACTIVE: ""}))),
        also=("D122",),
        **SURE,
    ),
    in_radiographs("class with two positives", "D105", table(LABELS, two_positives)),
    in_radiographs("box outside", "D106", table(BOXES, each(5, "x1", 1.4)), **SURE),
    in_radiographs("box corners swapped", "D106", table(BOXES, swapped), **SURE),
    in_radiographs("box without area", "D106", table(BOXES, lambda rows: rows[5].update(y1=rows[5]["y0"])), **SURE),
    in_radiographs("box not a number", "D106", table(BOXES, each(5, "x0", "n/a")), **SURE),
    in_radiographs("pixel box among relative ones", "D106", table(BOXES, lambda rows: scaled(256)(rows[5])), **SURE),
    in_radiographs("boxes of another image size", "D106", table(BOXES, every_row(scaled(512))), **SURE),
    in_radiographs(
        "width and height in corner columns", "D106", table(BOXES, every_row(as_sizes)), also=("D127",), **SURE
    ),
    in_radiographs(
        "positive without box", "D107", table(BOXES, lambda rows: [row for row in rows if row["id"] != rows[0]["id"]])
    ),
    in_radiographs("box of a negative", "D107", table(LABELS, each(0, ACTIVE, 0)), **SURE),
    in_radiographs(
        "patient in two splits of a table",
        "D108",
        table(SPLITS, lambda rows: rows[3].update(patient=rows[0]["patient"])),
        **SURE,
    ),
    in_ct("split by slice", "D108", also_in_val, also=("D129",), **SURE),
    in_radiographs("same image in train and val", "D108", copied(0, 3, lambda a: a), also=("D109",), **SURE),
    in_radiographs("halved copy in train and val", "D108", copied(0, 3, halved)),
    in_radiographs("mirrored copy in train and val", "D108", copied(0, 3, lambda a: np.ascontiguousarray(a[:, ::-1]))),
    in_radiographs("copy within a split", "D109", copied(0, 1, lambda a: a)),
    in_radiographs("brightened copy within a split", "D109", copied(0, 1, lambda a: (a * 0.7 + 40).astype(np.uint8))),
    in_volumes("mask of another shape", "D110", mask(lambda a, _: a[:-2]), **SURE),
    in_volumes("mask mirrored by its affine", "D110", mask(lambda a, m: (a, FLIP @ m)), **SURE),
    in_volumes("mask moved away", "D110", mask(lambda a, m: (a, moved(m, -40, 12, 7))), **SURE),
    in_volumes("mask of another voxel size", "D110", mask(lambda a, m: (a, m @ np.diag([1, 1, 2.5, 1]))), **SURE),
    in_volumes("mask shifted by two voxels", "D110", mask(lambda a, m: (a, moved(m, 2, 0, 0))), **SURE),
    in_volumes("case in LPS among RAS", "D111", both(lambda a, m: (a, FLIP @ m))),
    in_volumes("case of three times the voxel size", "D111", both(lambda a, m: (a, m @ np.diag([3, 3, 3, 1])))),
    in_ct("padding -2000", "D112", dicom(1, lambda d: pixels(d, lambda a: circle(a, -2000))), **SURE),
    in_ct("padding -3024", "D112", dicom(1, lambda d: pixels(d, lambda a: circle(a, -3024))), **SURE),
    in_ct("rescale missing", "D112", dicom(1, without_rescale), **SURE),
    in_ct("intercept forgotten", "D112", dicom(1, unsigned)),
    in_ct("8-bit CT", "D112", dicom(1, eight_bits), also=("D126",)),
    in_volumes("not labelled = 3, undeclared", "D113", unlabelled, **SURE),
    in_volumes("not labelled = 3, nothing declared", "D113", unlabelled, options={"label_values": ()}),
    in_volumes("0/255 mask", "D113", mask(lambda a, _: ((a > 0) * 255).astype(np.uint8)), **SURE),
    in_volumes("interpolated mask", "D113", mask(interpolated), **SURE),
    in_volumes("truncated NIfTI", "D121", cut("imagesTr", 3, 0.6), also=("D122",), **SURE),
    in_radiographs("truncated PNG", "D121", cut("images", 3, 0.6), also=("D122",), **SURE),
    in_ct("truncated DICOM", "D121", cut("patient1", 3, 0.7), also=("D129",), **SURE),
    in_ct("text file called .dcm", "D121", lambda root: (root / "patient1" / "x.dcm").write_text("no image"), **SURE),
    in_volumes("mask missing", "D122", gone("labelsTr", 3), **SURE),
    in_volumes("image missing", "D122", gone("imagesTr", 3), **SURE),
    in_radiographs("label row without image", "D122", gone("images", 3), **SURE),
    in_radiographs(
        "names that do not match",
        "D122",
        table(LABELS, every_row(lambda row: row.update(id=f"case {row['id'][2:]}"))),
        also=("D104", "D107"),  # suspected: where nothing matches, the names may not have been understood
    ),
    in_volumes("empty mask", "D123", mask(lambda a, _: np.zeros_like(a))),
    in_volumes("full mask", "D123", mask(lambda a, _: np.ones_like(a))),
    in_volumes("mask of two voxels", "D123", mask(two_voxels)),
    in_radiographs("negatives among radiographs", "D124", every_png(lambda a: 255 - a, step=10)),
    in_ct(
        "MONOCHROME1 among MONOCHROME2",
        "D124",
        dicom(1, lambda d: setattr(d, "PhotometricInterpretation", "MONOCHROME1")),
    ),
    in_radiographs(
        "12-bit PNG among 8-bit ones", "D125", every_png(lambda a: a.astype(np.uint16) * 16, step=4), also=("D128",)
    ),
    in_radiographs("CT window burnt into radiographs", "D126", every_png(windowed)),
    in_ct("window of another modality in headers", "D126", everybody(another_window)),
    in_radiographs("boxes below a cell", "D127", table(BOXES, every_row(eight_pixels))),
    in_volumes("one volume on another scale", "D128", image(lambda a, _: (a / 255).astype(np.float32))),
    in_ct("missing slices", "D129", with_gap),
    in_ct("file names out of order", "D129", shuffled_names),
    in_ct(
        "two series under one identifier", "D129", dicom(1, lambda d: setattr(d, "SeriesInstanceUID", "1.2.826.2.2"))
    ),
    in_volumes("blank volume", "D130", image(lambda a, _: np.zeros_like(a)), **SURE),
    in_radiographs("blank radiograph", "D130", png(3, np.zeros_like)),
    in_ct("DICOM without suffix among others", "D131", no_suffix),
    in_radiographs("class called todo", "D132", table(BOXES, each(0, "class", "todo")), also=("D107",)),
)


def run(plants: Iterable[Plant] = PLANTS, *, workers: int = 0) -> dict[str, Any]:
    """Build each corpus once, verify its twin, then every plant on a copy."""
    with tempfile.TemporaryDirectory(prefix="traindx-plants-") as name:
        made: dict[str, Path] = {}
        twins: dict[str, list[str]] = {}
        rows = []
        for plant in plants:
            if plant.corpus not in made:
                made[plant.corpus] = Path(name, plant.corpus)
                CORPORA[plant.corpus](made[plant.corpus])
                clean = examine(made[plant.corpus], plant.corpus, {}, workers)
                twins[plant.corpus] = [f"{finding.code} {finding.message}" for finding in clean]
            rows.append(try_one(plant, made[plant.corpus], Path(name, "copy"), workers))
    found = sum(row["found"] for row in rows)
    return {
        "plants": len(rows),
        "found": found,
        "findings_on_clean_twins": twins,
        "missed": [row["plant"] for row in rows if not row["found"]],
        "with_other_findings": {row["plant"]: row["others"] for row in rows if row["others"]},
        "rows": rows,
    }


def try_one(plant: Plant, corpus: Path, copy: Path, workers: int) -> dict[str, Any]:
    """Plant into a copy and verify it."""
    shutil.rmtree(copy, ignore_errors=True)
    shutil.copytree(corpus, copy)
    plant.put(copy)
    findings = examine(copy, plant.corpus, plant.options, workers)
    strong = [finding for finding in findings if finding.code == plant.code and _reaches(finding, plant.standing)]
    others = sorted({f.code for f in findings} - {plant.code, *plant.also})
    return {
        "plant": plant.name,
        "code": plant.code,
        "corpus": plant.corpus,
        "found": bool(strong),
        "standing": strong[0].standing.value if strong else None,
        "message": strong[0].message if strong else None,
        "others": others,
    }


def _reaches(finding: Finding, standing: str) -> bool:
    return standing in ("suspected", finding.standing.value)


def examine(folder: Path, corpus: str, options: dict[str, Any], workers: int) -> list[Finding]:
    """Findings beyond notes; a note on a plant counts where it is the rule's own word for it (D113 of 0/255)."""
    diagnosis = verify(folder, **{**options_of(corpus, folder), **options, "workers": workers})
    return [finding for finding in diagnosis.findings if finding.severity is not Severity.NOTE]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="write the results here as JSON")
    parser.add_argument("--workers", type=int, default=2)
    chosen = parser.parse_args()
    if not (ROOT / "README.md").exists():
        raise SystemExit(f"the public sets are not at {ROOT}; set TRAINDX_DATA")
    result = run(workers=chosen.workers)
    for row in result["rows"]:
        mark = "found " if row["found"] else "MISSED"
        print(
            f"{mark} {row['code']} {row['plant']}" + (f"  (also {', '.join(row['others'])})" if row["others"] else "")
        )
    print(
        f"{result['found']} of {result['plants']} plants found; on the clean twins: {result['findings_on_clean_twins']}"
    )
    if chosen.out is not None:
        chosen.out.parent.mkdir(parents=True, exist_ok=True)
        chosen.out.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
