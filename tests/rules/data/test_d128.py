"""D128: grey scales within a set."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from patients.folders import found, organ, segmentation_folder, write_nifti


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
