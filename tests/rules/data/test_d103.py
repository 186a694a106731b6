"""D103: NaN and infinite voxels in files."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from patients.folders import found, organ, segmentation_folder, write_nifti


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_one_value_that_is_not_finite_is_found(tmp_path: Path, value: float) -> None:
    segmentation_folder(tmp_path)
    image = organ(9)[0].astype(np.float32)
    image[3, 4, 5] = value
    write_nifti(tmp_path / "imagesTr" / "organ_003.nii.gz", image)
    (finding,) = found(tmp_path, "D103")
    assert finding.standing == "demonstrated"
    assert finding.numbers["affected"] == 1
    assert "organ_003" in finding.message
    assert f"1 of {image.size} values" in finding.message
    assert finding.location is not None
    assert Path(finding.location.file) == tmp_path / "imagesTr" / "organ_003.nii.gz"


def test_finite_float_images_are_in_order(tmp_path: Path) -> None:
    segmentation_folder(tmp_path)
    write_nifti(tmp_path / "imagesTr" / "organ_003.nii.gz", organ(3)[0].astype(np.float32))
    assert found(tmp_path, "D103") == []


def test_very_large_values_are_not_infinite(tmp_path: Path) -> None:
    segmentation_folder(tmp_path)
    write_nifti(tmp_path / "imagesTr" / "organ_003.nii.gz", organ(3)[0].astype(np.float32) * np.float32(1e30))
    assert found(tmp_path, "D103") == []


def test_everything_nan_does_not_stop_the_run(tmp_path: Path) -> None:
    segmentation_folder(tmp_path)
    write_nifti(tmp_path / "imagesTr" / "organ_003.nii.gz", np.full((20, 24, 18), np.nan, np.float32))
    (finding,) = found(tmp_path, "D103")
    assert finding.numbers["affected"] == 1
