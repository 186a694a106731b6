"""D108: what two splits share."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from patients.folders import found, radiograph, radiograph_folder, resized, tables, write_csv, write_png, write_series


def test_disjoint_patients_are_silent(tmp_path: Path) -> None:
    radiograph_folder(tmp_path)
    assert found(tmp_path, "D108", **tables(tmp_path)) == []


def test_patient_in_two_splits_of_a_table(tmp_path: Path) -> None:
    names = radiograph_folder(tmp_path)
    rows = [
        {"id": name, "patient": f"p{k // 2}", "split": "val" if k >= 7 else "train"} for k, name in enumerate(names)
    ]
    write_csv(tmp_path / "splits.csv", rows)
    (finding,) = found(tmp_path, "D108", **tables(tmp_path))
    assert finding.standing == "demonstrated"
    assert finding.severity == "critical"
    assert "patient p3: 1 in train, 1 in val" in finding.message


def test_patient_of_dicom_headers_in_two_folders(tmp_path: Path) -> None:
    for seed, split in ((1, "train"), (2, "train"), (3, "val")):
        write_series(tmp_path / split / f"s{seed}", seed)
    assert found(tmp_path, "D108") == []
    write_series(tmp_path / "val" / "again", 4, PatientID="P1", SeriesInstanceUID="1.2.9", StudyInstanceUID="1.2.8")
    (finding,) = found(tmp_path, "D108")
    assert finding.standing == "demonstrated"
    assert "patient patient-" in finding.message  # the identifier itself stays out of reports
    assert finding.numbers["patient"] == 1


def test_series_in_two_splits_without_patients(tmp_path: Path) -> None:
    for folder, split, seed in (("a", "train", 1), ("b", "val", 2)):
        write_series(tmp_path / split / folder, seed, PatientID=None, StudyInstanceUID=None, SeriesInstanceUID="1.2.7")
    (finding,) = found(tmp_path, "D108")
    assert finding.numbers["series"] == 1


@pytest.mark.parametrize("name", ["ANONYMOUS", "", "0"])
def test_placeholders_are_nobody(tmp_path: Path, name: str) -> None:
    for seed, split, patient in ((1, "train", name), (2, "train", "P2"), (3, "val", name)):
        write_series(tmp_path / split / f"s{seed}", seed, PatientID=patient)
    assert found(tmp_path, "D108") == []


def test_one_identifier_for_everybody_tells_nothing(tmp_path: Path) -> None:
    for seed, split in ((1, "train"), (2, "train"), (3, "val")):
        write_series(tmp_path / split / f"s{seed}", seed, PatientID="STUDY-X")
    assert found(tmp_path, "D108") == []


def test_identical_pixels_in_two_splits(tmp_path: Path) -> None:
    names = radiograph_folder(tmp_path)
    write_png(tmp_path / "images" / f"{names[-1]}.png", radiograph(0))
    findings = found(tmp_path, "D108", **tables(tmp_path))
    assert [finding.standing for finding in findings] == ["demonstrated"]
    assert "pixel for pixel" in findings[0].message


@pytest.mark.parametrize("change", ["resized", "brighter", "mirrored", "jpeg"])
def test_near_duplicate_in_two_splits_is_suspected(tmp_path: Path, change: str) -> None:
    names = radiograph_folder(tmp_path)
    image = radiograph(0)
    target = tmp_path / "images" / f"{names[-1]}.png"
    if change == "jpeg":
        target.unlink()
        target = write_png(target.with_suffix(".jpg"), image)
    else:
        changed = {
            "resized": lambda: resized(image, 0.8),
            "brighter": lambda: (image * 0.8 + 30).astype(np.uint8),
            "mirrored": lambda: np.ascontiguousarray(image[:, ::-1]),
        }[change]()
        write_png(target, changed)
    findings = found(tmp_path, "D108", **tables(tmp_path))
    assert [finding.standing for finding in findings] == ["suspected"]
    assert names[0] in findings[0].message
    assert names[-1] in findings[0].message
    assert ("mirrored" in findings[0].message) == (change == "mirrored")


def test_case_that_a_split_table_names_twice(tmp_path: Path) -> None:
    names = radiograph_folder(tmp_path)
    rows = [{"id": name, "split": "val" if k >= 8 else "train"} for k, name in enumerate(names)]
    write_csv(tmp_path / "splits.csv", [*rows, {"id": names[0], "split": "val"}])
    (finding,) = found(tmp_path, "D108", **tables(tmp_path))
    assert finding.standing == "demonstrated"
    assert names[0] in finding.message


def test_folds_are_splits(tmp_path: Path) -> None:
    names = radiograph_folder(tmp_path)
    rows = [{"id": name, "patient": f"p{k // 2}", "fold": k % 2} for k, name in enumerate(names)]
    write_csv(tmp_path / "splits.csv", rows)
    (finding,) = found(tmp_path, "D108", splits=tmp_path / "splits.csv")
    assert finding.numbers["patient"] == 6
