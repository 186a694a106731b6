"""D112: CT values that are not Hounsfield units."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from patients.folders import LPS, ct_volume, found, write_dicom, write_nifti, write_series


def series(root: Path, change: object, **header: object) -> list[object]:
    """Three healthy series and a fourth whose slices are changed."""
    for seed in range(3):
        write_series(root / f"s{seed}", seed)
    for number, hu in enumerate(ct_volume(9)[7:12]):
        stored = change(hu)
        keys = {"SeriesInstanceUID": "1.9", "PatientID": "P9", "ImagePositionPatient": [0, 0, 2 * number]}
        write_dicom(root / "changed" / f"{number}.dcm", stored, **{**keys, **header})
    return found(root, "D112")


def outside(hu: np.ndarray) -> np.ndarray:
    rows, columns = np.mgrid[: hu.shape[0], : hu.shape[1]] / hu.shape[0] - 0.5
    return rows**2 + columns**2 > 0.25


def test_healthy_series_are_silent(tmp_path: Path) -> None:
    assert series(tmp_path, lambda hu: hu) == []


@pytest.mark.parametrize("padding", [-2000, -3024, -2048])
def test_padding_is_demonstrated(tmp_path: Path, padding: int) -> None:
    (finding,) = series(tmp_path, lambda hu: np.where(outside(hu), padding, hu).astype(np.int16))
    assert finding.standing == "demonstrated"
    assert finding.numbers["padded"] == 5
    assert f"{padding} HU" in finding.message
    expected = outside(np.zeros((48, 48))).mean()
    assert finding.numbers["largest share"] == pytest.approx(expected)


def test_padding_counts_after_rescaling(tmp_path: Path) -> None:
    """Stored 0 with intercept -1024 is air; a pixel of -2000 becomes -3024."""
    header = {"RescaleIntercept": -1024, "PixelPaddingValue": -2000}
    assert series(tmp_path, lambda hu: (hu + 1024).clip(0).astype(np.int16), **header) == []
    (finding,) = series(tmp_path, lambda hu: np.where(outside(hu), -2000, hu + 1024).astype(np.int16), **header)
    assert "-3024" in finding.message


def test_noise_in_air_is_no_padding(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    assert series(tmp_path, lambda hu: (hu - rng.integers(0, 60, hu.shape)).astype(np.int16)) == []


def test_missing_rescale_is_demonstrated(tmp_path: Path) -> None:
    findings = series(tmp_path, lambda hu: hu, RescaleSlope=None, RescaleIntercept=None)
    assert [finding.standing for finding in findings] == ["demonstrated"]
    assert findings[0].numbers["without rescale"] == 5


def test_eight_bits_are_suspected(tmp_path: Path) -> None:
    findings = series(tmp_path, lambda hu: ((hu.clip(-160, 240) + 160) * 255 / 400).astype(np.uint8))
    assert [finding.standing for finding in findings] == ["suspected"]
    assert findings[0].numbers["8 bit"] == 5


def test_forgotten_intercept_is_suspected(tmp_path: Path) -> None:
    for seed in range(4):
        write_nifti(tmp_path / "ct" / f"case_{seed}.nii.gz", ct_volume(seed).T + 1024, LPS)
    (finding,) = found(tmp_path, "D112")
    assert finding.standing == "suspected"
    assert finding.numbers["shifted"] == 4
    assert "1024" in finding.message


def test_hu_in_nifti_are_silent(tmp_path: Path) -> None:
    for seed in range(4):
        write_nifti(tmp_path / "ct" / f"case_{seed}.nii.gz", ct_volume(seed).T, LPS)
    assert found(tmp_path, "D112") == []


def test_one_crop_inside_the_body_is_silent(tmp_path: Path) -> None:
    """A crop without air is possible; a set without air is not."""
    for seed in range(4):
        write_nifti(tmp_path / "ct" / f"case_{seed}.nii.gz", ct_volume(seed).T, LPS)
    write_nifti(tmp_path / "ct" / "crop.nii.gz", ct_volume(5)[:, 30:36, 20:28].clip(-100).T, LPS)
    assert found(tmp_path, "D112") == []


def test_normalised_already(tmp_path: Path) -> None:
    for seed in range(3):
        volume = (ct_volume(seed).T.clip(-1000, 1000) / 1000).astype(np.float32)
        write_nifti(tmp_path / "ct" / f"case_{seed}.nii.gz", volume, LPS)
    (finding,) = found(tmp_path, "D112")
    assert (finding.standing, finding.severity) == ("suspected", "note")
    write_nifti(tmp_path / "ct" / "case_3.nii.gz", ct_volume(3).T, LPS)
    (finding,) = found(tmp_path, "D112")
    assert finding.severity == "major"


def test_mr_is_not_asked_for_hounsfield(tmp_path: Path) -> None:
    for seed in range(3):
        header = {"Modality": "MR", "RescaleSlope": None, "RescaleIntercept": None}
        write_series(tmp_path / f"s{seed}", seed, **header)
    assert found(tmp_path, "D112") == []
