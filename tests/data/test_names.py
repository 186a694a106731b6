"""What names say, and what they must not be taken to say."""

from __future__ import annotations

import pytest

from traindx.data.kinds import by_suffix, suffix_of
from traindx.data.names import Names, case_key, is_placeholder, whole_case, without_suffix


@pytest.mark.parametrize(
    ("path", "role", "modality", "split"),
    [
        ("imagesTr/liver_001_0000.nii.gz", "image", "", "train"),
        ("labelsTs/liver_001.nii.gz", "mask", "", "test"),
        ("val/ct128/pt_3.npz", "", "CT", "val"),
        ("p1/T1w.nii.gz", "", "MR", ""),
        ("p1/t1_seg.nii.gz", "mask", "MR", ""),
        ("masks/ct_07.png", "mask", "CT", ""),
        ("lung_segmentation/p1.nii.gz", "", "", ""),
        ("segmentation/p1.nii.gz", "mask", "", ""),
        ("Dataset_with_GT/benign/p1.png", "", "", ""),
        ("Training_labels_v2/p1.png", "mask", "", "train"),
        ("segmentations/screenshots/p1.png", "other", "", ""),
        ("masks/p1_overlay.png", "other", "", ""),
        ("image_without_label_01.nii.gz", "", "", ""),
        ("scans/labels.nii.gz", "mask", "", ""),
        ("patients/ct_mr/p1.nii.gz", "", "", ""),
        ("testudo/p1.nii.gz", "", "", ""),
    ],
)
def test_role_modality_and_split(path: str, role: str, modality: str, split: str) -> None:
    names = Names(path)
    assert (names.role, names.modality, names.split) == (role, modality, split)


def test_the_data_folder_itself_hints_at_the_modality_only() -> None:
    names = Names("a/p1.nii.gz", "test_masks_ct")
    assert (names.role, names.modality, names.split, names.patient) == ("", "CT", "", "")


@pytest.mark.parametrize(
    ("path", "patient"),
    [
        ("sub-01/anat/sub-01_T1w.nii.gz", "01"),
        ("patient_7/ct.nii.gz", "7"),
        ("patients/ct.nii.gz", ""),
        ("x/y.png", ""),
    ],
)
def test_patients_in_folder_names(path: str, patient: str) -> None:
    assert Names(path).patient == patient


@pytest.mark.parametrize(
    ("first", "second", "same"),
    [
        ("imagesTr/a_001_0000.nii.gz", "labelsTr/a_001.nii.gz", True),
        ("train/images/a.png", "train/masks/a_mask.png", True),
        ("p1/ct.nii.gz", "p2/ct.nii.gz", False),
        ("a_1_1.png", "a_1.png", False),
        ("ctA/x.png", "ctB/x.png", False),
        ("imagesTr/case_0003_0000.nii.gz", "labelsTr/case_0003.nii.gz", True),
        ("labelsTr/case_0003.nii.gz", "labelsTr/case_0004.nii.gz", False),
        ("imagesTr/case_0003.nii.gz", "labelsTr/case_0003.nii.gz", True),
    ],
)
def test_case_keys(first: str, second: str, same: bool) -> None:
    assert (Names(first).case == Names(second).case) is same


def test_a_channel_number_is_not_a_name() -> None:
    assert case_key([], "0000") == "0000"


@pytest.mark.parametrize(
    ("name", "stem"),
    [("a/b.nii.gz", "b"), ("1.2.840.113", "1.2.840.113"), ("x.dcm", "x"), ("IM001", "IM001"), ("c.jpeg", "c")],
)
def test_stems(name: str, stem: str) -> None:
    assert without_suffix(name) == stem


@pytest.mark.parametrize(
    ("name", "suffix", "kind"),
    [
        ("a.nii.gz", ".nii.gz", "nifti"),
        ("CT.1.3.12.2.1107.5.1.4.60064", "", ""),
        ("IM0001", "", ""),
        ("a.DCM", ".dcm", "dicom"),
        ("b.csv", ".csv", "table"),
        ("README.md", ".md", "text"),
        (".hidden", "", ""),
    ],
)
def test_suffixes(name: str, suffix: str, kind: str) -> None:
    assert suffix_of(name) == suffix
    assert by_suffix(name) == kind


def test_placeholders() -> None:
    assert all(map(is_placeholder, ["", " ", "Anonymous", "UNKNOWN", "0"]))
    assert not any(map(is_placeholder, ["P1", "STS_001", "10"]))


@pytest.mark.parametrize(
    ("path", "case"),
    [
        ("benign/mask/benign (7)_mask_2.png", "benign/benign 7"),
        ("masks/case12-seg1.png", "case12"),
        ("masks/case12_mask.png", ""),
        ("masks/mask_2.png", ""),  # the number of the case
        ("masks/case_mask_12.png", ""),
    ],
)
def test_masks_that_are_one_of_several(path: str, case: str) -> None:
    assert whole_case(path) == case
