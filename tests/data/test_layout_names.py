"""Pairs, patterns and conventions from names alone."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from pydicom.dataset import Dataset

from patients.folders import examined, radiograph, write_dicom, write_png, write_series
from traindx.data.layout.conventions import CONVENTIONS, check_layout, recognised
from traindx.data.layout.lines import shape
from traindx.data.layout.naming import OTHER, naming
from traindx.data.layout.pairing import Place, pair
from traindx.data.layout.patterns import matches
from traindx.data.layout.survey import PER_GROUP, folder_group, survey
from traindx.errors import UsageError


def paired(masks: list[str], images: list[str]) -> dict[str, list[str]]:
    """Images by mask, through the numbers that the store would use."""
    every = dict(enumerate([*images, *masks]))
    places = {name: Place(number, name) for number, name in every.items()}
    found: dict[str, list[str]] = {}
    for mask, image in pair([places[name] for name in masks], [places[name] for name in images]):
        found.setdefault(every[mask], []).append(every[image])
    return {mask: sorted(found[mask]) for mask in sorted(found)}


FAMILIES = {
    "mirrored folders": ("pics/{}.png", "marks/{}.png"),
    "another suffix in each": ("training/images/{}_training.tif", "training/1st_manual/{}_manual1.gif"),
    "suffix": ("eyes/eye{}.jpg", "eyes/eye{}_vessels.png"),
    "prefix": ("Training Batch 1/volume-{}.nii", "Training Batch 1/segmentation-{}.nii"),
    "prefix without separator": ("img{}.png", "mask{}.png"),
    "one folder a case": ("case_{}/imaging.nii.gz", "case_{}/segmentation.nii.gz"),
    "number in the folder of one, in the name of the other": ("scans/s{}.nii.gz", "drawn/s{}/liver.nii.gz"),
    "mirror with other words": ("originaux/nord/p{0}/irm_p{0}.nii.gz", "contours/nord/p{0}/tumeur_p{0}.nii.gz"),
    "derivatives": ("sub-{0}/anat/sub-{0}_T1w.nii.gz", "derivatives/x/sub-{0}/anat/sub-{0}_T1w_label-a_mask.nii.gz"),
}


@pytest.mark.parametrize("family", FAMILIES)
def test_families(family: str) -> None:
    image, mask = FAMILIES[family]
    numbers = ("03", "04", "11", "40", "41", "110")
    images, masks = [image.format(n) for n in numbers], [mask.format(n) for n in numbers]
    assert paired(masks, images) == {m: [i] for m, i in sorted(zip(masks, images, strict=True))}
    # The image of one is gone: its mask stays alone, and the others keep theirs.
    del images[2]
    assert paired(masks, images) == {
        mask.format(n): [image.format(n)] for n in sorted(numbers, key=mask.format) if n != "11"
    }


@pytest.mark.parametrize("channel", ["", "_0000"])
def test_numbers_of_cases_that_look_like_channels(channel: str) -> None:
    """``case_0000`` is one case, though every name of nnU-Net holds ``0000``."""
    images = [f"imagesTr/case_{n:04}{channel}.nii.gz" for n in range(1, 14)]
    masks = [f"labelsTr/case_{n:04}.nii.gz" for n in range(14)]
    found = paired(masks, images)
    assert found == {mask: [image] for mask, image in zip(masks[1:], images, strict=True)}
    assert paired(masks[:1], images) == {}
    assert paired(masks[:2], images) == {masks[1]: images[:1]}


def test_channels_all_belong_to_the_mask() -> None:
    images = [f"B_{n:05}/B_{n:05}_{c}.nii.gz" for n in range(4) for c in ("flair", "t1", "t1ce", "t2")]
    found = paired([f"B_{n:05}/B_{n:05}_seg.nii.gz" for n in range(4)], images)
    assert all(len(found[f"B_{n:05}/B_{n:05}_seg.nii.gz"]) == 4 for n in range(4))
    assert paired(["B_1/B_1_seg.nii.gz"], ["B_1/B_1_t1.nii.gz", "B_1/B_1_t2.nii.gz"])["B_1/B_1_seg.nii.gz"]


def test_masks_with_names_of_their_own_belong_to_the_image_of_their_folder() -> None:
    cases = [f"{n:02x}" * 16 for n in range(5)]
    images = [f"stage1_train/{name}/images/{name}.png" for name in cases]
    masks = [f"stage1_train/{cases[n % 5]}/masks/{n + 90:02x}" + "ab" * 15 + ".png" for n in range(15)]
    found = paired(masks, images)
    assert len(found) == 15
    assert all(mask.split("/")[1] in image for mask, (image,) in found.items())
    found = paired(masks, images[1:])  # and stay alone where that image is missing
    assert len(found) == 12


def test_the_nearest_name_wins_over_derived_pictures() -> None:
    images = [f"data/ISIC_{n:04}.jpg" for n in range(4)] + [f"data/ISIC_{n:04}_superpixels.png" for n in range(4)]
    found = paired([f"truth/ISIC_{n:04}_segmentation.png" for n in range(4)], images)
    assert all(image == [f"data/ISIC_{mask[11:15]}.jpg"] for mask, image in found.items())
    assert len(found) == 4


def test_splits_are_not_mixed() -> None:
    images = [Place(0, "train/1.png", "train"), Place(1, "test/1.png", "test")]
    assert list(pair([Place(2, "drawn/1_s.png", "test")], images)) == [(2, 1)]


def test_what_shares_nothing_is_not_paired() -> None:
    assert paired(["m/w.png", "m/x.png"], ["i/a.png", "i/b.png"]) == {}
    assert paired(["set/m/1.png"], ["set/i/7.png", "set/i/8.png", "set/i/9.png"]) == {}


@pytest.mark.parametrize(
    ("pattern", "path", "fields"),
    [
        ("scans/{case}.png", "scans/p7.png", {"case": "p7"}),
        ("scans/{case}.png", "set/scans/p7.png", {"case": "p7"}),
        ("scans/{case}.png", "scans/a/p7.png", None),
        ("{case}/{case}_seg.nii*", "p7/p7_seg.nii.gz", {"case": "p7"}),
        ("{case}/{case}_seg.nii*", "p7/p8_seg.nii.gz", None),
        ("{split}/**/{patient}/*.png", "train/a/b/p7/x.png", {"split": "train", "patient": "p7"}),
        ("*.gif", "x.GIF", {}),
    ],
)
def test_patterns(pattern: str, path: str, fields: dict[str, str] | None) -> None:
    assert matches(pattern, path) == fields


def test_patterns_that_cannot_be_read_are_refused() -> None:
    with pytest.raises(UsageError, match="the pattern"):
        naming(None, images=("{number}.png",))


def test_the_user_wins_over_the_convention() -> None:
    drive = next(one for one in CONVENTIONS if one.key == "drive")
    assert naming(drive).of("training/mask/21_training_mask.gif")[0] == OTHER
    assert naming(drive, masks=("mask/*",)).of("training/mask/21_training_mask.gif")[0] == "mask"


def test_a_convention_is_recognised_by_all_of_its_signs() -> None:
    names = ["a/training/images/21_training.tif", "a/training/1st_manual/21_manual1.gif"]
    found = recognised(names)
    assert found is not None
    assert found.key == "drive"
    assert recognised(names[:1]) is None
    chosen = recognised([], "kits")
    assert chosen is not None
    assert chosen.key == "kits"
    with pytest.raises(UsageError, match="no layout"):
        check_layout("kitz")


def test_a_survey_keeps_a_few_names_of_every_group() -> None:
    seen = survey((f"p{n % 10}/s{n}/img_{n}.png", 3) for n in range(10_000))
    assert (seen.files, seen.bytes) == (10_000, 30_000)
    assert len(seen.names) == PER_GROUP
    assert folder_group("p10/0a0a0a0a0a0a0a0a/x.png") == "p#/#"


@pytest.mark.parametrize(
    ("path", "said"),
    [
        ("labelsTr/organ_003.nii.gz", "labelsTr/organ_#.nii.gz"),
        ("a/b/c/1.3.6.1.4.1.14519.5.2.1.99.mhd", "b/c/*.mhd"),
        ("stage1_train/0a0a0a0a0a0a0a0a/masks/0b0b0b0b0b0b0b0b.png", "*/masks/*.png"),
        ("1.2.840.113619.2.55/scan.dcm", "*/scan.dcm"),
    ],
)
def test_what_was_understood_is_said_without_numbers(path: str, said: str) -> None:
    assert shape(path) == said


def test_segmentations_of_a_series_that_is_not_there_are_no_riddle_of_names(tmp_path: Path) -> None:
    """A DICOM segmentation says itself which series it belongs to."""
    write_series(tmp_path / "ct", 1)
    reference = Dataset()
    reference.SeriesInstanceUID = "1.2.77.4"
    labels = np.zeros((16, 16), np.uint8)
    labels[4:8, 4:8] = 1
    header = {"Modality": "SEG", "ReferencedSeriesSequence": [reference], "SeriesInstanceUID": "1.2.9"}
    write_dicom(tmp_path / "seg" / "seg.dcm", labels, **header, PerFrameFunctionalGroupsSequence=[Dataset()])
    diagnosis = examined(tmp_path)
    (said,) = diagnosis.extras["layout"]["unclear"]
    assert "1 segmentation refers to a series of which no image is in the folder" in said
    assert "--masks" not in said


def test_one_folder_called_test_is_no_division(tmp_path: Path) -> None:
    for number in range(4):
        write_png(tmp_path / "data_test_png" / f"{number}.png", radiograph(number))
        write_png(tmp_path / "cohort" / f"{number}.png", radiograph(20 + number))
    assert [said for said in examined(tmp_path).extras["layout"]["lines"] if "splits" in said] == []


def drawn(seed: int) -> np.ndarray:
    mask = np.zeros((64, 64), np.uint8)
    mask[10 + seed : 30 + seed, 12:40] = 255
    return mask


def test_numbered_masks_of_one_image(tmp_path: Path) -> None:
    for number in range(1, 13):
        write_png(tmp_path / "images" / f"benign ({number}).png", radiograph(number))
        write_png(tmp_path / "mask" / f"benign ({number})_mask.png", drawn(number))
    for number in (3, 7):
        write_png(tmp_path / "mask" / f"benign ({number})_mask_1.png", drawn(number + 20))
    diagnosis = examined(tmp_path)
    assert "14 pairs" in diagnosis.extras["layout"]["lines"][0]
    assert [finding.code for finding in diagnosis.findings if finding.code == "D122"] == []
    (tmp_path / "images" / "benign (7).png").unlink()
    (finding,) = [finding for finding in examined(tmp_path).findings if finding.code == "D122"]
    assert "2 of 14 masks have no image" in finding.message


def test_pictures_alone_in_a_folder_called_after_masks_are_images(tmp_path: Path) -> None:
    for number in range(8):
        write_png(tmp_path / "labels" / f"{number}.png", radiograph(number))
    assert examined(tmp_path).extras["census"]["images"] == 8
    for number in range(8):
        write_png(tmp_path / "labels" / f"{number}.png", drawn(number))
    assert examined(tmp_path).extras["census"]["masks"] == 8
