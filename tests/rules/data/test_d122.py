"""D122: what has no counterpart."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from patients.folders import (
    examined,
    found,
    organ,
    radiograph,
    radiograph_folder,
    segmentation_folder,
    tables,
    write_csv,
    write_nifti,
    write_png,
)


def test_complete_folders_are_silent(tmp_path: Path) -> None:
    segmentation_folder(tmp_path / "a")
    assert found(tmp_path / "a", "D122", task="segmentation") == []
    radiograph_folder(tmp_path / "b")
    assert found(tmp_path / "b", "D122", task="classification", **tables(tmp_path / "b")) == []


def test_mask_without_image_is_demonstrated(tmp_path: Path) -> None:
    segmentation_folder(tmp_path)
    (tmp_path / "imagesTr" / "organ_002.nii.gz").unlink()
    (finding,) = found(tmp_path, "D122")
    assert finding.standing == "demonstrated"
    assert "1 of 6 masks" in finding.message
    assert "organ_002" in finding.message


def test_image_without_mask_is_suspected_and_demonstrated_where_the_task_needs_it(tmp_path: Path) -> None:
    segmentation_folder(tmp_path)
    (tmp_path / "labelsTr" / "organ_002.nii.gz").unlink()
    (finding,) = found(tmp_path, "D122")
    assert (finding.standing, finding.severity) == ("suspected", "minor")
    (finding,) = found(tmp_path, "D122", task="segmentation")
    assert finding.standing == "demonstrated"


def test_images_alone_need_no_masks_unless_the_task_says_so(tmp_path: Path) -> None:
    for number in range(3):
        write_nifti(tmp_path / f"case_{number}.nii.gz", organ(number)[0])
    assert found(tmp_path, "D122") == []
    (finding,) = found(tmp_path, "D122", task="segmentation")
    assert finding.numbers["missing"] == 3


@pytest.mark.parametrize(
    ("image", "mask"),
    [
        ("imagesTr/p1.nii.gz", "labelsTr/p1.nii.gz"),
        ("imagesTr/p_001_0000.nii.gz", "labelsTr/p_001.nii.gz"),
        ("p1/image.nii.gz", "p1/mask.nii.gz"),
        ("p1/t1.nii.gz", "p1/seg.nii.gz"),
        ("sub-01_T1w.nii.gz", "sub-01_label.nii.gz"),
        ("case__image__case.nii.gz", "case__mask__lesion_mask.nii.gz"),
        ("train/images/p1.nii.gz", "train/masks/p1.nii.gz"),
    ],
)
def test_names_that_belong_together(tmp_path: Path, image: str, mask: str) -> None:
    pixels, labels = organ(0)
    write_nifti(tmp_path / image, pixels)
    write_nifti(tmp_path / mask, labels)
    assert found(tmp_path, "D122", task="segmentation") == []


def test_numbers_are_never_dropped_from_a_name(tmp_path: Path) -> None:
    for number in (1, 3):
        write_nifti(tmp_path / "images" / f"p_{number}.nii.gz", organ(number)[0])
    write_nifti(tmp_path / "masks" / "p_1_2.nii.gz", organ(0)[1])
    write_nifti(tmp_path / "masks" / "p_3.nii.gz", organ(3)[1])
    assert [finding.numbers["missing"] for finding in found(tmp_path, "D122", task="segmentation")] == [1, 1]


def test_rows_and_images_must_meet(tmp_path: Path) -> None:
    names = radiograph_folder(tmp_path)
    write_csv(tmp_path / "labels.csv", [{"id": name, "nodule": k % 2} for k, name in enumerate([*names[1:], "ghost"])])
    findings = found(tmp_path, "D122", task="classification", labels=tables(tmp_path)["labels"])
    assert {finding.standing for finding in findings} == {"demonstrated"}
    assert any("ghost" in finding.message for finding in findings)
    assert any("case_00" in finding.message for finding in findings)


def test_a_join_that_finds_nothing_says_so(tmp_path: Path) -> None:
    radiograph_folder(tmp_path)
    write_csv(tmp_path / "labels.csv", [{"id": f"patient-{k}", "nodule": k % 2} for k in range(12)])
    findings = found(tmp_path, "D122", labels=tables(tmp_path)["labels"])
    assert any("do not match at all" in finding.message for finding in findings)


def test_names_with_suffix_and_folder_are_the_same(tmp_path: Path) -> None:
    names = radiograph_folder(tmp_path)
    rows = [{"id": f"images/{name}.png", "nodule": k % 2} for k, name in enumerate(names)]
    write_csv(tmp_path / "labels.csv", rows)
    assert found(tmp_path, "D122", task="classification", labels=tables(tmp_path)["labels"]) == []


def test_an_image_without_a_box_is_a_negative(tmp_path: Path) -> None:
    radiograph_folder(tmp_path)
    assert found(tmp_path, "D122", boxes=tables(tmp_path)["boxes"]) == []


def test_arrays_that_say_which_masks_exist(tmp_path: Path) -> None:
    images = np.stack([radiograph(k) for k in range(5)])
    ids = np.array([f"c{k}" for k in range(5)])
    masks = (images > 99).astype(np.uint8)
    np.savez(tmp_path / "images.npz", image=images, ids=ids)
    np.savez(tmp_path / "masks.npz", mask=masks, ids=ids, has_mask=np.array([1, 1, 1, 0, 1], bool))
    (finding,) = found(tmp_path, "D122")
    assert finding.numbers["missing"] == 1
    assert "c3" in finding.message


def test_where_no_mask_finds_an_image_our_reading_is_to_blame(tmp_path: Path) -> None:
    for number in range(4):
        write_png(tmp_path / "images" / f"{'abcd'[number]}.png", radiograph(number))
        write_png(tmp_path / "masks" / f"{'wxyz'[number]}.png", (radiograph(number) > 99).astype(np.uint8))
    diagnosis = examined(tmp_path, task="segmentation")
    assert [finding for finding in diagnosis.findings if finding.code == "D122"] == []
    (said,) = [one.reason for one in diagnosis.not_examined if one.subject == "masks in masks"]
    assert "none of 4" in said
    assert "--masks" in said


def test_a_channel_that_only_one_case_lacks(tmp_path: Path) -> None:
    for number in range(6):
        for channel in range(2):
            write_nifti(tmp_path / "imagesTr" / f"c_{number:02}_{channel:04}.nii.gz", organ(number * 2 + channel)[0])
    assert found(tmp_path, "D122") == []
    (tmp_path / "imagesTr" / "c_03_0001.nii.gz").unlink()
    (finding,) = found(tmp_path, "D122")
    assert (finding.standing, finding.severity) == ("suspected", "minor")
    assert "c_03" in finding.message


def test_visits_whose_number_differs_are_no_channels(tmp_path: Path) -> None:
    for number, visits in enumerate((3, 1, 2, 3, 2, 1)):
        for visit in range(visits):
            write_nifti(tmp_path / f"c{number:02}_v{visit}.nii.gz", organ(number * 3 + visit)[0])
    assert found(tmp_path, "D122") == []


def test_png_masks(tmp_path: Path) -> None:
    for number in range(4):
        write_png(tmp_path / "images" / f"c{number}.png", radiograph(number))
        if number:
            write_png(tmp_path / "masks" / f"c{number}_mask.png", (radiograph(number) > 99).astype(np.uint8))
    (finding,) = found(tmp_path, "D122")
    assert finding.numbers["missing"] == 1
