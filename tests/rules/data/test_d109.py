"""D109: one image under two names."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from patients.folders import (
    ct_volume,
    found,
    radiograph,
    radiograph_folder,
    resized,
    tables,
    write_csv,
    write_dicom,
    write_png,
)
from traindx.data.audit import copies


def test_different_radiographs_are_silent(tmp_path: Path) -> None:
    radiograph_folder(tmp_path, 30)
    assert found(tmp_path, "D109") == []


def test_identical_pixels_are_suspected(tmp_path: Path) -> None:
    radiograph_folder(tmp_path)
    write_png(tmp_path / "images" / "copy.png", radiograph(3))
    (finding,) = found(tmp_path, "D109")
    assert finding.standing == "suspected"
    assert finding.numbers["copies"] == 1
    assert "case_03" in finding.message
    assert "copy" in finding.message


def test_identical_pixels_with_other_labels_are_demonstrated(tmp_path: Path) -> None:
    names = radiograph_folder(tmp_path)
    write_png(tmp_path / "images" / "copy.png", radiograph(3))
    rows = [{"id": name, "nodule": k % 2, "effusion": 0 if k else 1} for k, name in enumerate(names)]
    write_csv(tmp_path / "labels.csv", [*rows, {"id": "copy", "nodule": 0, "effusion": 1}])
    (finding,) = found(tmp_path, "D109", labels=tables(tmp_path)["labels"])
    assert finding.standing == "demonstrated"
    assert finding.numbers["with other labels"] == 1


def test_other_labels_in_a_table_of_paths_are_demonstrated(tmp_path: Path) -> None:
    rows = []
    for kind in ("benign", "malignant"):
        for number in range(8):
            write_png(tmp_path / kind / f"{number}.png", radiograph(number + 50 * (kind == "benign")))
            rows.append({"image_path": f"{kind}/{number}.png", "label": kind})
    write_png(tmp_path / "benign" / "5.png", radiograph(5))  # as malignant/5.png
    write_csv(tmp_path / "labels.csv", rows)
    (finding,) = found(tmp_path, "D109")
    assert finding.standing == "demonstrated"
    assert finding.numbers["with other labels"] == 1


def test_copies_of_different_splits_alone_are_the_leak_that_is_said_already(tmp_path: Path) -> None:
    for part, first in (("train", 0), ("val", 20)):
        for number in range(first, first + 6):
            write_png(tmp_path / part / f"{number}.png", radiograph(number))
    write_png(tmp_path / "val" / "copy.png", radiograph(3))
    (leak,) = found(tmp_path, "D108")
    assert "train/3.png" in leak.message
    assert "the same as val/copy.png" in leak.message
    assert found(tmp_path, "D109") == []
    write_png(tmp_path / "val" / "again.png", radiograph(3))  # twice in one split, too
    (finding,) = found(tmp_path, "D109")
    assert finding.numbers["copies"] == 2


def test_near_duplicate_is_suspected_once(tmp_path: Path) -> None:
    radiograph_folder(tmp_path)
    write_png(tmp_path / "images" / "copy.png", resized(radiograph(3), 0.8))
    (finding,) = found(tmp_path, "D109")
    assert finding.standing == "suspected"
    assert finding.numbers["pairs"] == 1
    assert finding.numbers["highest correlation"] > 0.95


def test_the_same_pixels_in_another_byte_order_are_the_same(tmp_path: Path) -> None:
    image = (radiograph(1).astype(np.int16) - 100) * 4
    write_dicom(tmp_path / "a.dcm", image, SeriesInstanceUID="1.2.5", PatientID="A")
    write_dicom(tmp_path / "b.dcm", image, TransferSyntaxUID="1.2.840.10008.1.2.2", SeriesInstanceUID="1.2.6")
    (finding,) = found(tmp_path, "D109")
    assert finding.numbers["copies"] == 1


def test_one_pixel_makes_another_image(tmp_path: Path) -> None:
    """Not identical any more; the near-duplicate remains."""
    image = radiograph(1)
    write_png(tmp_path / "a.png", image)
    image[30, 30] ^= 1
    write_png(tmp_path / "b.png", image)
    (finding,) = found(tmp_path, "D109")
    assert "pairs" in finding.numbers


def test_images_of_one_patient_may_be_alike(tmp_path: Path) -> None:
    names = radiograph_folder(tmp_path)
    write_png(tmp_path / "images" / "copy.png", resized(radiograph(3), 0.8))
    rows = [{"id": name, "patient": f"p{k}", "split": "train"} for k, name in enumerate([*names, "copy"])]
    rows[-1]["patient"] = "p3"
    write_csv(tmp_path / "splits.csv", rows)
    assert found(tmp_path, "D109", splits=tmp_path / "splits.csv") == []


def test_two_sequences_of_one_slice_are_no_copies(tmp_path: Path) -> None:
    """Exported under their names with a hash behind; two cases that look alike are copies all the same."""
    for number in range(14):
        write_png(tmp_path / f"im{number}_T2_jpg.rf.{number:032x}.png", radiograph(number))
    write_png(tmp_path / f"im3_FLAIR_jpg.rf.{99:032x}.png", resized(radiograph(3), 0.9))
    assert found(tmp_path, "D109") == []
    write_png(tmp_path / f"im40_FLAIR_jpg.rf.{98:032x}.png", resized(radiograph(3), 0.8))
    (finding,) = found(tmp_path, "D109")
    assert "im40_FLAIR" in finding.message


@pytest.mark.parametrize(
    ("one", "two", "follow"),
    [("im10 39", "im11 39", True), ("im10 39", "im10 41", True), ("im10 39", "im11 40", False), ("a 3", "a 7", False),
     ("p1/7", "q1/8", False), ("7", "7", False)],
)  # fmt: skip
def test_numbers_that_follow(one: str, two: str, follow: bool) -> None:
    assert copies._follow(one, two) is follow


def test_neighbouring_slices_are_no_copies(tmp_path: Path) -> None:
    volume = ct_volume(2, (20, 64, 64))
    low, high = volume.min(), volume.max()
    for number, image in enumerate(volume[4:18]):
        write_png(tmp_path / f"im{number}.png", ((image - low) / (high - low) * 255).astype(np.uint8))
    assert found(tmp_path, "D109") == []
    copy = resized(((volume[9] - low) / (high - low) * 255).astype(np.uint8), 0.9)
    write_png(tmp_path / "im40.png", copy)
    assert any(
        "im40" in offender.name + offender.detail for one in found(tmp_path, "D109") for offender in one.offenders
    )


def test_blank_images_are_not_copies(tmp_path: Path) -> None:
    for name in "abc":
        write_png(tmp_path / f"{name}.png", np.zeros((64, 64), np.uint8))
    write_png(tmp_path / "d.png", radiograph(0))
    assert found(tmp_path, "D109") == []


PLATE = np.random.default_rng(99).normal(0, 40, (32, 32)).repeat(3, 0).repeat(3, 1)
"""What stands before every image of one device: a face plate with its markings."""


def through_the_plate(seed: int) -> np.ndarray:
    """An image of its own, faint behind what all images share."""
    own = np.random.default_rng(seed).normal(0, 8, (32, 32)).repeat(3, 0).repeat(3, 1)
    return (128 + PLATE + own).clip(0, 255).astype(np.uint8)


def test_the_frame_that_all_images_share_makes_no_copies(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed in range(16):
        write_png(tmp_path / f"eye_{seed:02}.png", through_the_plate(seed))
    assert found(tmp_path, "D109") == []
    with monkeypatch.context() as without:
        without.setattr(copies, "OWN", -1.0)  # every pair is alike by what they share
        assert found(tmp_path, "D109")[0].numbers["pairs"] > 50
    brighter = (through_the_plate(5).astype(float) * 1.1).clip(0, 255).astype(np.uint8)
    write_png(tmp_path / "eye_99.png", brighter)
    (finding,) = found(tmp_path, "D109")
    assert {"eye_05", "eye_99"} <= {word.split(".")[0].strip("(") for word in finding.message.split()}
