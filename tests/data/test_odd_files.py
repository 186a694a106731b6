"""Every real odd file gets its own verdict, none stops the run."""

from __future__ import annotations

from pathlib import Path

import pytest

from patients.folders import examined
from traindx.diagnosis import Diagnosis
from traindx.finding import Finding

pytestmark = pytest.mark.data


@pytest.fixture(scope="module")
def diagnoses(data_root: Path) -> dict[str, Diagnosis]:
    folders = sorted(path for path in (data_root / "odd_files").iterdir() if path.is_dir())
    return {folder.name: examined(folder, workers=2) for folder in folders}


def of(diagnosis: Diagnosis, code: str) -> list[Finding]:
    return [finding for finding in diagnosis.findings if finding.code == code]


def census(diagnosis: Diagnosis) -> tuple[int, int, int]:
    counts = diagnosis.extras["census"]
    return counts["readable"], counts["unreadable"], counts["not_images"]


def test_padding_of_minus_3024(diagnoses: dict[str, Diagnosis]) -> None:
    diagnosis = diagnoses["ct_dicom_pad3024"]
    assert census(diagnosis) == (12, 0, 0)
    (finding,) = diagnosis.findings
    assert (finding.code, finding.standing) == ("D112", "demonstrated")
    assert finding.numbers["padded"] == 12
    assert "-3024" in finding.message


def test_dicom_without_suffix_is_read_and_noted(diagnoses: dict[str, Diagnosis]) -> None:
    diagnosis = diagnoses["ct_dicom_totalseg"]
    assert census(diagnosis) == (20, 0, 0)
    assert {finding.severity for finding in diagnosis.findings} == {"note"}
    assert {finding.code for finding in diagnosis.findings} == {"D129", "D131"}
    assert "SliceThickness 3 mm, slices 2 mm apart" in of(diagnosis, "D129")[0].message


def test_registered_ct_and_mr_are_in_order(diagnoses: dict[str, Diagnosis]) -> None:
    diagnosis = diagnoses["ct_mr_dicom_sts001"]
    assert census(diagnosis) == (118, 0, 0)
    assert diagnosis.findings == ()


def test_oblique_multicontrast_mr(diagnoses: dict[str, Diagnosis]) -> None:
    diagnosis = diagnoses["mr_multicontrast_oblique_dicom"]
    assert census(diagnosis) == (24, 0, 0)
    assert diagnosis.exit_code == 0
    tilted = next(finding for finding in of(diagnosis, "D111") if "oblique" in finding.message)
    assert tilted.numbers["largest tilt in degrees"] == pytest.approx(10.8, abs=0.05)
    said = " ".join(finding.message for finding in of(diagnosis, "D129"))
    assert "have gaps" in said
    assert "do not sort in slice order" in said


def test_broken_nifti(diagnoses: dict[str, Diagnosis]) -> None:
    diagnosis = diagnoses["nifti_broken"]
    assert census(diagnosis) == (3, 1, 0)
    assert diagnosis.exit_code == 1
    (unreadable,) = of(diagnosis, "D121")
    assert "truncated_hippocampus_001" in unreadable.message
    assert not of(diagnosis, "D122")  # no mask has an image here, which says more of the reader than of the folder
    assert any("none of 2 could be given an image" in one.reason for one in diagnosis.not_examined)
    (foreign,) = of(diagnosis, "D111")
    assert "512x512x94" in foreign.message


def test_odd_nifti(diagnoses: dict[str, Diagnosis]) -> None:
    diagnosis = diagnoses["nifti_odd"]
    assert census(diagnosis) == (12, 0, 0)
    said = {finding.message.split(":")[0]: finding.message for finding in of(diagnosis, "D123")}
    full = said["3 of 9 masks have no background"]
    assert all(name in full for name in ("orientation__mask", "uninformative__mask__full", "slice__mask__full"))
    assert "uninformative__mask__empty_mask" in said["1 of 9 masks are empty"]
    tiny = said["4 of 9 masks have a foreground of at most 8 voxels"]
    assert tiny.count("one_voxel") == tiny.count("disconnected") == 2
    assert [finding.standing for finding in of(diagnosis, "D130")] == ["demonstrated", "suspected"]
    assert {finding.standing for finding in of(diagnosis, "D122")} == {"suspected"}  # names that were not understood
    assert not of(diagnosis, "D110")


def test_broken_dicom(diagnoses: dict[str, Diagnosis]) -> None:
    diagnosis = diagnoses["pydicom_broken"]
    assert census(diagnosis) == (7, 7, 0)
    assert diagnosis.exit_code == 1
    unreadable = of(diagnosis, "D121")[0]
    for name in (
        "MR_truncated", "badVR", "empty_charset_LEI", "meta_missing_tsyntax", "no_meta", "no_meta_group_length",
        "rtplan_truncated",
    ):  # fmt: skip
        assert f"{name}.dcm" in unreadable.remedy
    for name in ("CT_small", "JPEG2000", "MR_small_RLE", "MR_small_bigendian", "MR_small_padded", "liver_1frame"):
        assert f"{name}.dcm" not in unreadable.remedy
    assert "J2K_pixelrep_mismatch" in of(diagnosis, "D121")[1].message
    assert "J2K_pixelrep_mismatch" in of(diagnosis, "D112")[0].message  # and its -2000 padding
    (same,) = of(diagnosis, "D109")
    assert same.numbers["copies"] == 2  # one MR slice in three encodings
    assert not of(diagnosis, "D122")  # a segmentation whose CT is not there, so it is the only one of its kind
    assert any("1 segmentation refers to a series" in one.reason for one in diagnosis.not_examined)


def test_all_together(data_root: Path) -> None:
    diagnosis = examined(data_root / "odd_files", workers=2)
    assert census(diagnosis) == (196, 8, 0)
    assert diagnosis.exit_code == 1
    demonstrated = {finding.code for finding in diagnosis.findings if finding.standing == "demonstrated"}
    assert demonstrated == {"D112", "D121", "D130"}
