"""D123: empty, full and tiny masks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from patients.folders import found, organ, segmentation_folder, write_nifti

SHAPE = organ(0)[1].shape


def spot(voxels: int) -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask.reshape(-1)[1000 : 1000 + voxels] = 1
    return mask


def with_mask(root: Path, mask: np.ndarray) -> list[object]:
    segmentation_folder(root)
    write_nifti(root / "labelsTr" / "organ_002.nii.gz", mask)
    return found(root, "D123")


@pytest.mark.parametrize(
    ("mask", "said"),
    [
        (spot(0), "are empty"),
        (np.ones(SHAPE, np.uint8), "have no background"),
        (spot(1), "at most 8 voxels"),
        (spot(8), "at most 8 voxels"),
    ],
)
def test_odd_mask_is_suspected(tmp_path: Path, mask: np.ndarray, said: str) -> None:
    (finding,) = with_mask(tmp_path, mask)
    assert finding.standing == "suspected"
    assert said in finding.message
    assert "1 of 6 masks" in finding.message
    assert "organ_002" in finding.message


def numbered(*values: int) -> np.ndarray:
    mask = np.zeros(SHAPE, np.uint8)
    mask.reshape(-1)[1000 : 1000 + 5 * len(values) : 5] = values
    return mask


@pytest.mark.parametrize(("mask", "silent"), [(numbered(3), True), (numbered(1, 2, 3), True), (numbered(3, 3), False)])
def test_numbered_points_are_no_remnants(tmp_path: Path, mask: np.ndarray, silent: bool) -> None:
    """Vertebrae are often numbered by one voxel each."""
    assert (with_mask(tmp_path, mask) == []) is silent


def test_ordinary_and_small_masks_are_silent(tmp_path: Path) -> None:
    assert with_mask(tmp_path, spot(9)) == []


@pytest.mark.parametrize("value", [0, 1])
def test_nothing_but_empty_or_full_masks_is_demonstrated(tmp_path: Path, value: int) -> None:
    segmentation_folder(tmp_path)
    for number in range(6):
        write_nifti(tmp_path / "labelsTr" / f"organ_{number:03d}.nii.gz", np.full(SHAPE, value, np.uint8))
    (finding,) = found(tmp_path, "D123")
    assert (finding.standing, finding.severity) == ("demonstrated", "critical")
