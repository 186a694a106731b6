"""D124: negatives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from patients.folders import found, radiograph, radiograph_folder, write_dicom, write_png


def test_one_polarity_is_silent(tmp_path: Path) -> None:
    radiograph_folder(tmp_path, 20)
    assert found(tmp_path, "D124") == []


@pytest.mark.parametrize("negatives", [1, 6])
def test_negatives_among_positives_are_suspected(tmp_path: Path, negatives: int) -> None:
    names = radiograph_folder(tmp_path, 20)
    for number in range(negatives):
        write_png(tmp_path / "images" / f"{names[number]}.png", 255 - radiograph(number))
    (finding,) = found(tmp_path, "D124")
    assert finding.standing == "suspected"
    assert finding.numbers["opposite"] == negatives
    assert any(name in finding.message for name in names[:negatives])
    assert not any(name in finding.message for name in names[negatives:])


def test_a_change_of_contrast_is_no_negative(tmp_path: Path) -> None:
    names = radiograph_folder(tmp_path, 20)
    write_png(tmp_path / "images" / f"{names[0]}.png", (radiograph(0) * 0.3 + 120).astype(np.uint8))
    assert found(tmp_path, "D124") == []


def test_unrelated_pictures_have_no_common_polarity(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for number in range(20):
        write_png(tmp_path / f"noise_{number}.png", rng.integers(0, 255, (64, 64), dtype=np.uint8))
    assert found(tmp_path, "D124") == []


def dicom(root: Path, kinds: str) -> list[object]:
    for number, kind in enumerate(kinds):
        stored = radiograph(number).astype(np.uint16) * 16
        header = {"Modality": "DX", "SeriesInstanceUID": f"1.{number}", "PatientID": f"P{number}"}
        stored = 4080 - stored if kind == "1" else stored
        write_dicom(root / f"{number}.dcm", stored, PhotometricInterpretation=f"MONOCHROME{kind}", **header)
    return found(root, "D124")


def test_mixed_photometric_interpretation(tmp_path: Path) -> None:
    findings = dicom(tmp_path, "22212222212222")
    assert [finding.standing for finding in findings] == ["suspected"] * 2
    assert findings[0].numbers == {"MONOCHROME1": 2, "MONOCHROME2": 12}
    assert findings[0].severity == "major"
    assert findings[1].numbers["opposite"] == 2  # and their pixels look it


def test_all_monochrome1_is_a_note(tmp_path: Path) -> None:
    (finding,) = dicom(tmp_path, "1" * 10)
    assert finding.severity == "note"


def test_all_monochrome2_is_silent(tmp_path: Path) -> None:
    assert dicom(tmp_path, "2" * 10) == []
