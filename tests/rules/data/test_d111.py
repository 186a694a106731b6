"""D111: geometry that differs within a set."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from patients.folders import LPS, found, organ, segmentation_folder, write_nifti, write_series


def affine(*sizes: float) -> np.ndarray:
    return np.diag([*sizes, 1.0])


def folder(root: Path, *affines: np.ndarray) -> list[object]:
    for number, each in enumerate(affines):
        write_nifti(root / "images" / f"case_{number}.nii.gz", organ(number)[0], each)
    return found(root, "D111")


def test_one_geometry_is_silent(tmp_path: Path) -> None:
    segmentation_folder(tmp_path)
    assert found(tmp_path, "D111") == []


def test_mixed_orientation(tmp_path: Path) -> None:
    (finding,) = folder(tmp_path, affine(1, 1, 1), affine(1, 1, 1), LPS)
    assert finding.standing == "suspected"
    assert finding.severity == "major"
    assert "case_2" in finding.message
    assert finding.numbers["members RAS"] == 2
    assert finding.numbers["members LPS"] == 1


def test_mixed_slice_distance(tmp_path: Path) -> None:
    (finding,) = folder(tmp_path, affine(1, 1, 1), affine(1, 1, 1), affine(1, 1, 5))
    assert "1 to 5 mm" in finding.message
    assert finding.numbers["slice distance ratio"] == 5.0


def test_the_slice_axis_is_found_wherever_it_lies(tmp_path: Path) -> None:
    (finding,) = folder(tmp_path, affine(1, 1, 3), affine(1, 1, 3), affine(6, 1, 1))
    assert finding.numbers["slice distance ratio"] == 2.0
    assert finding.numbers["in-plane ratio"] == 1.0


def test_scales_within_usual_augmentation_are_silent(tmp_path: Path) -> None:
    assert folder(tmp_path, affine(1, 1, 1), affine(1.2, 1.2, 1.3), affine(0.9, 0.9, 1.1)) == []


def test_anisotropic_but_equal_is_silent(tmp_path: Path) -> None:
    assert folder(tmp_path, affine(0.7, 0.7, 5), affine(0.7, 0.7, 5)) == []


def test_oblique_is_a_note(tmp_path: Path) -> None:
    angle = np.radians(20)
    turned = affine(1, 1, 1)
    turned[1:3, 1:3] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    (finding,) = folder(tmp_path, affine(1, 1, 1), turned)
    assert finding.severity == "note"
    assert abs(finding.numbers["largest tilt in degrees"] - 20) < 1e-6


def test_dicom_by_series(tmp_path: Path) -> None:
    for seed, step in ((1, 2.0), (2, 2.0), (3, 5.0)):
        write_series(tmp_path / f"s{seed}", seed, step=step)
    (finding,) = found(tmp_path, "D111")
    assert finding.numbers["members"] == 3
    assert "slice distance 2 to 5 mm" in finding.message
