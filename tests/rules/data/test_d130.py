"""D130: images of one value."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from patients.folders import found, radiograph_folder, segmentation_folder, write_nifti, write_png


def test_constant_image_is_suspected(tmp_path: Path) -> None:
    names = radiograph_folder(tmp_path)
    assert found(tmp_path, "D130") == []
    write_png(tmp_path / "images" / f"{names[3]}.png", np.full((64, 64), 17, np.uint8))
    (finding,) = found(tmp_path, "D130")
    assert finding.standing == "suspected"
    assert "17 everywhere" in finding.message


def test_constant_volume_is_demonstrated(tmp_path: Path) -> None:
    segmentation_folder(tmp_path)
    write_nifti(tmp_path / "imagesTr" / "organ_001.nii.gz", np.zeros((20, 24, 18), np.int16))
    (finding,) = found(tmp_path, "D130")
    assert finding.standing == "demonstrated"
    assert "organ_001" in finding.message


def test_one_other_pixel_is_enough(tmp_path: Path) -> None:
    names = radiograph_folder(tmp_path)
    image = np.full((64, 64), 17, np.uint8)
    image[0, 0] = 18
    write_png(tmp_path / "images" / f"{names[3]}.png", image)
    assert found(tmp_path, "D130") == []


def test_a_constant_mask_is_another_rules_business(tmp_path: Path) -> None:
    segmentation_folder(tmp_path)
    write_nifti(tmp_path / "labelsTr" / "organ_001.nii.gz", np.zeros((20, 24, 18), np.uint8))
    assert found(tmp_path, "D130") == []
