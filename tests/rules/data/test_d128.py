"""D128: grey scales within a set."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from patients.folders import found, organ, segmentation_folder, write_dicom, write_nifti


def scaled(root: Path, factor: float) -> list[object]:
    segmentation_folder(root)
    image = organ(2)[0].astype(np.float32) * factor
    write_nifti(root / "imagesTr" / "organ_002.nii.gz", image)
    return found(root, "D128")


def test_one_scale_is_silent(tmp_path: Path) -> None:
    assert scaled(tmp_path, 1.0) == []


def test_usual_variation_of_gain_is_silent(tmp_path: Path) -> None:
    assert scaled(tmp_path, 4.0) == []
    assert scaled(tmp_path, 0.25) == []


def test_another_scale_is_suspected(tmp_path: Path) -> None:
    (finding,) = scaled(tmp_path, 1 / 255)
    assert finding.standing == "suspected"
    assert "organ_002" in finding.message
    assert finding.numbers["ratio"] > 100


def test_an_offset_is_not_a_scale(tmp_path: Path) -> None:
    segmentation_folder(tmp_path)
    write_nifti(tmp_path / "imagesTr" / "organ_002.nii.gz", organ(2)[0] + 5000)
    assert found(tmp_path, "D128") == []


def test_ct_is_judged_by_hounsfield_units(tmp_path: Path) -> None:
    for number in range(5):
        write_nifti(tmp_path / "ct" / f"c{number}.nii.gz", organ(number)[0] * (30 if number else 1))
    assert found(tmp_path, "D128") == []


def heads(root: Path, *gains: float) -> list[object]:
    """MR series of six slices, the uppermost of which shows hardly anything."""
    for number, gain in enumerate(gains):
        random = np.random.default_rng(number)
        for slice_, bright in enumerate((0.02, 0.5, 1.0, 1.0, 0.9, 0.7)):
            stored = (random.random((24, 24)) * 2000 * bright * gain).astype(np.int16)
            header = {"SeriesInstanceUID": f"1.2.{number}.4", "PatientID": f"P{number}", "Modality": "MR"}
            write_dicom(root / f"s{number}" / f"{slice_}.dcm", stored, ImagePositionPatient=[0, 0, slice_], **header)
    return found(root, "D128")


def test_slices_of_one_series_are_on_one_scale(tmp_path: Path) -> None:
    assert heads(tmp_path, 1, 1, 1, 1, 1) == []


def test_series_of_another_scale_are_suspected(tmp_path: Path) -> None:
    (finding,) = heads(tmp_path, 1, 1, 1, 1, 0.02)
    assert "s4/" in finding.message
    assert "6 slices" in finding.message
    assert 40 < finding.numbers["ratio"] < 60
