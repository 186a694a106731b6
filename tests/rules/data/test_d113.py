"""D113: mask values that nobody declared."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.ndimage import zoom

from patients.folders import found, organ, radiograph, segmentation_folder, write_nifti, write_png
from traindx.data import read_images


def unlabelled(mask: np.ndarray) -> np.ndarray:
    """Most of the volume is 2 = not labelled, as in surface segmentation."""
    result = np.full(mask.shape, 2, np.uint8)
    result[4:13, 4:20, 3:15] = mask[4:13, 4:20, 3:15]
    return result


def folder(root: Path, change: object, **options: object) -> list[object]:
    segmentation_folder(root)
    for number in range(6):
        write_nifti(root / "labelsTr" / f"organ_{number:03d}.nii.gz", change(organ(number)[1]))
    return found(root, "D113", **options)


def test_declared_values_are_silent(tmp_path: Path) -> None:
    assert folder(tmp_path, lambda mask: mask) == []
    assert folder(tmp_path, lambda mask: mask, label_values=(0, 1)) == []


def test_unlabelled_value_is_suspected_by_its_share(tmp_path: Path) -> None:
    (finding,) = folder(tmp_path, unlabelled)
    assert finding.standing == "suspected"
    assert "not labelled" in finding.message
    share = np.mean([np.mean(unlabelled(organ(k)[1]) == 2) for k in range(6)])
    assert finding.numbers["share of value 2"] == pytest.approx(share)


def test_unlabelled_value_is_demonstrated_against_declared_ones(tmp_path: Path) -> None:
    (finding,) = folder(tmp_path, unlabelled, label_values=(0, 1))
    assert finding.standing == "demonstrated"
    assert finding.proposals[0].parameters == {"value": 2.0}


def test_ignored_value_is_declared(tmp_path: Path) -> None:
    assert folder(tmp_path, unlabelled, label_values=(0, 1), ignore_value=2) == []


@pytest.mark.parametrize(
    "labels", ['{"0": "background", "1": "organ"}', '{"background": 0, "organ": 1}', '{"background": 0, "parts": [1]}']
)
def test_dataset_json_declares(tmp_path: Path, labels: str) -> None:
    (tmp_path / "dataset.json").write_text(f'{{"labels": {labels}}}', encoding="utf-8")
    (finding,) = folder(tmp_path, unlabelled)
    assert finding.standing == "demonstrated"
    assert "dataset.json" in finding.message
    assert folder(tmp_path, lambda mask: mask) == []


def test_two_small_organs_are_two_classes(tmp_path: Path) -> None:
    def halves(mask: np.ndarray) -> np.ndarray:
        return mask * np.where(np.arange(mask.shape[0])[:, None, None] > 10, 2, 1).astype(np.uint8)

    assert folder(tmp_path, halves) == []


def test_zero_and_255_are_a_note(tmp_path: Path) -> None:
    (finding,) = folder(tmp_path, lambda mask: mask * 255)
    assert (finding.standing, finding.severity) == ("suspected", "note")


@pytest.mark.parametrize(("white", "dtype"), [(255, np.uint8), (65535, np.uint16)])
def test_foreground_of_two_numbers_is_suspected(tmp_path: Path, white: int, dtype: type) -> None:
    seen: list[int] = []

    def code(mask: np.ndarray) -> np.ndarray:
        seen.append(1)
        return mask.astype(dtype) * (white if len(seen) % 2 else 1)

    (finding,) = folder(tmp_path, code)
    assert (finding.standing, finding.severity) == ("suspected", "major")
    assert f"1 in 3, {white} in 3 of 6 masks" in finding.message


def test_255_beside_1_in_one_mask_is_no_second_code(tmp_path: Path) -> None:
    """As in Pascal VOC, where 255 is not to be learned."""

    def edged(mask: np.ndarray) -> np.ndarray:
        mask = mask.copy()
        mask[:, 0, 0] = 255
        return mask

    assert not [finding for finding in folder(tmp_path, edged) if "different numbers" in finding.message]


def test_bits_of_a_picture_are_0_and_1(tmp_path: Path) -> None:
    array = np.zeros((20, 30), bool)
    array[4:9] = True
    Image.fromarray(array).save(tmp_path / "bits.png")
    read, _ = read_images.load(str(tmp_path / "bits.png"))
    assert sorted(set(read.view(np.uint8).ravel().tolist())) == [0, 1]


def test_interpolated_mask(tmp_path: Path) -> None:
    def blurred(mask: np.ndarray) -> np.ndarray:
        small = zoom(mask.astype(np.float32) * 255, 0.5, order=1)
        return zoom(small, np.array(mask.shape) / small.shape, order=1).round().astype(np.uint8)

    (finding,) = folder(tmp_path, blurred)
    assert finding.standing == "suspected"
    assert finding.numbers["interpolated"] == 6


def test_jpeg_masks_are_not_two_valued(tmp_path: Path) -> None:
    for number in range(3):
        write_png(tmp_path / "images" / f"c{number}.png", radiograph(number))
        inside = np.hypot(*(np.mgrid[:64, :64] - 30)) < 12 + number
        write_png(tmp_path / "masks" / f"c{number}.jpg", (inside * 255).astype(np.uint8))
    (finding,) = found(tmp_path, "D113")
    assert finding.numbers["interpolated"] == 3


def test_fractions(tmp_path: Path) -> None:
    (finding,) = folder(tmp_path, lambda mask: mask.astype(np.float32) * 0.5)
    assert finding.numbers["fractional"] == 6
    assert finding.standing == "suspected"


def test_integers_stored_as_floats_are_integers(tmp_path: Path) -> None:
    assert folder(tmp_path, lambda mask: mask.astype(np.float32)) == []


def test_many_organs_are_not_interpolation(tmp_path: Path) -> None:
    def parts(mask: np.ndarray) -> np.ndarray:
        return mask * (1 + np.arange(mask.shape[0])[:, None, None] % 9).astype(np.uint8)

    assert folder(tmp_path, parts) == []


def test_stray_value_in_one_mask_of_many(tmp_path: Path) -> None:
    segmentation_folder(tmp_path, 24)
    assert found(tmp_path, "D113") == []
    mask = organ(5)[1]
    mask[0, 0, :3] = 7
    write_nifti(tmp_path / "labelsTr" / "organ_005.nii.gz", mask)
    (finding,) = found(tmp_path, "D113")
    assert finding.standing == "suspected"
    assert finding.numbers["masks with value 7"] == 1
