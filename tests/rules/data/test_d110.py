"""D110: masks that do not lie on their image."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from patients.folders import RAS, found, organ, radiograph, segmentation_folder, write_nifti, write_png

MASK = "labelsTr/organ_002.nii.gz"


def with_mask(root: Path, mask: np.ndarray, affine: np.ndarray = RAS) -> list[object]:
    segmentation_folder(root)
    write_nifti(root / MASK, mask, affine)
    return found(root, "D110")


def shifted(millimetres: float) -> np.ndarray:
    affine = RAS.copy()
    affine[0, 3] = millimetres
    return affine


def test_same_grid_is_silent(tmp_path: Path) -> None:
    assert with_mask(tmp_path, organ(2)[1]) == []


@pytest.mark.parametrize("cut", [np.s_[1:], np.s_[:, :-2], np.s_[..., :9]])
def test_other_shape(tmp_path: Path, cut: object) -> None:
    (finding,) = with_mask(tmp_path, organ(2)[1][cut])
    assert finding.standing == "demonstrated"
    assert finding.numbers["pairs of different shape"] == 1
    assert "organ_002" in finding.message


def test_mask_mirrored_by_its_affine(tmp_path: Path) -> None:
    (finding,) = with_mask(tmp_path, organ(2)[1], np.diag([-1.0, -1.0, 1.0, 1.0]))
    assert finding.standing == "demonstrated"
    assert "LPS" in finding.message
    assert "RAS" in finding.message


def test_other_voxel_size(tmp_path: Path) -> None:
    (finding,) = with_mask(tmp_path, organ(2)[1], np.diag([1.0, 1.0, 2.5, 1.0]))
    assert finding.numbers["pairs of different voxel size"] == 1


def test_shift_is_demonstrated_beyond_half_a_voxel_and_suspected_below(tmp_path: Path) -> None:
    (finding,) = with_mask(tmp_path, organ(2)[1], shifted(3.0))
    assert finding.standing == "demonstrated"
    assert finding.numbers["largest in voxels"] == pytest.approx(3.0)
    (finding,) = with_mask(tmp_path, organ(2)[1], shifted(0.3))
    assert finding.standing == "suspected"


def scaled(factor: float) -> np.ndarray:
    affine = RAS.copy()
    affine[:3, 0] *= factor
    return affine


@pytest.mark.parametrize(
    ("factor", "standing", "said"),
    [
        (1.003, "suspected", "a fraction of a voxel beside"),  # an affine of two decimals: 0.06 voxels at the far end
        (1.05, "demonstrated", "differ in voxel size"),
    ],
)
def test_a_rounded_affine_counts_by_how_far_it_leads(tmp_path: Path, factor: float, standing: str, said: str) -> None:
    (finding,) = with_mask(tmp_path, organ(2)[1], scaled(factor))
    assert finding.standing == standing
    assert said in finding.message


def test_rounding_in_the_header_is_no_shift(tmp_path: Path) -> None:
    assert with_mask(tmp_path, organ(2)[1], shifted(0.01)) == []


def test_tilt_shows_in_the_corners(tmp_path: Path) -> None:
    angle = np.radians(8)
    affine = RAS.copy()
    affine[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    (finding,) = with_mask(tmp_path, organ(2)[1], affine)
    shape = np.array(organ(2)[1].shape) - 1
    expected = 2 * np.sin(angle / 2) * np.hypot(shape[0], shape[1])  # chord of the furthest corner
    assert finding.numbers["largest in voxels"] == pytest.approx(expected, rel=1e-4)


def test_axis_of_length_one_is_no_difference(tmp_path: Path) -> None:
    image, mask = organ(0)
    write_nifti(tmp_path / "images" / "a.nii.gz", image[:, :, 3:4])
    write_nifti(tmp_path / "masks" / "a.nii.gz", mask[:, :, 3])
    assert found(tmp_path, "D110") == []


def test_image_files_are_compared_by_shape(tmp_path: Path) -> None:
    write_png(tmp_path / "images" / "a.png", radiograph(0))
    write_png(tmp_path / "masks" / "a.png", (radiograph(0) > 99).astype(np.uint8)[:, :-4])
    (finding,) = found(tmp_path, "D110")
    assert "mask 64x60, image 64x64" in finding.message


def test_arrays_of_one_file_belong_together(tmp_path: Path) -> None:
    image, mask = organ(0)
    np.savez(tmp_path / "p1.npz", ct=image, mask=mask)
    np.savez(tmp_path / "p2.npz", ct=image, mask=mask.transpose(1, 0, 2))
    (finding,) = found(tmp_path, "D110")
    assert "p2.npz" in finding.message
    assert finding.numbers["pairs"] == 2
