"""D121: files that cannot be read."""

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
    write_dicom,
    write_nifti,
    write_png,
)


def cut(path: Path, share: float) -> Path:
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def test_whole_files_are_silent(tmp_path: Path) -> None:
    radiograph_folder(tmp_path)
    assert found(tmp_path, "D121") == []


@pytest.mark.parametrize("kind", ["nii.gz", "png", "npz", "dcm", "empty", "text"])
def test_broken_file_is_named_skipped_and_demonstrated(tmp_path: Path, kind: str) -> None:
    segmentation_folder(tmp_path / "good")
    broken = tmp_path / "bad" / f"case.{kind}"
    broken.parent.mkdir()
    if kind == "nii.gz":
        cut(write_nifti(broken, organ(1)[0]), 0.6)
    elif kind == "png":
        cut(write_png(broken, radiograph(1)), 0.5)
    elif kind == "npz":
        np.savez(broken, ct=organ(1)[0])
        cut(broken, 0.5)
    elif kind == "dcm":
        cut(write_dicom(broken, organ(1)[0][..., 3]), 0.8)
    elif kind == "empty":
        broken = broken.with_suffix(".nii")
        broken.touch()
    else:
        broken = broken.with_suffix(".dcm")
        broken.write_text("this is no image")
    diagnosis = examined(tmp_path)
    (finding,) = [finding for finding in diagnosis.findings if finding.code == "D121"]
    assert finding.standing == "demonstrated"
    assert finding.numbers == {"unreadable": 1, "files": 13}
    assert broken.name in finding.message
    assert broken.name in finding.remedy
    assert diagnosis.exit_code == 1
    assert diagnosis.extras["census"]["images"] == 6


def test_reason_of_a_cut_dicom_file_says_how_much_is_missing(tmp_path: Path) -> None:
    stored = organ(1)[0][..., 3]
    path = write_dicom(tmp_path / "a.dcm", stored)
    path.write_bytes(path.read_bytes()[:-100])
    (finding,) = found(tmp_path, "D121")
    assert f"declares {stored.size * 2} bytes and {stored.size * 2 - 100} are there" in finding.message


def test_plans_and_reports_are_not_unreadable(tmp_path: Path) -> None:
    """An object that never has pixels is listed, and judged by nobody."""
    import pydicom

    write_dicom(tmp_path / "image.dcm", organ(1)[0][..., 3])
    dataset = pydicom.dcmread(write_dicom(tmp_path / "plan.dcm", organ(1)[0][..., 3], Modality="RTPLAN"))
    del dataset.PixelData
    dataset.save_as(tmp_path / "plan.dcm")
    diagnosis = examined(tmp_path)
    assert not any(finding.code == "D121" for finding in diagnosis.findings)
    assert any("RTPLAN" in record.reason for record in diagnosis.not_examined)


def test_nothing_readable_is_not_healthy(tmp_path: Path) -> None:
    (tmp_path / "a.dcm").write_text("no image")
    diagnosis = examined(tmp_path)
    assert diagnosis.exit_code == 1
    (tmp_path / "a.dcm").unlink()
    diagnosis = examined(tmp_path)
    assert diagnosis.exit_code == 3


def test_volume_without_position_is_damaged(tmp_path: Path) -> None:
    import nibabel as nib

    segmentation_folder(tmp_path)
    path = tmp_path / "imagesTr" / "organ_001.nii.gz"
    image = nib.Nifti1Image(organ(1)[0], None)
    image.header["sform_code"] = image.header["qform_code"] = 0
    nib.save(image, path)
    (finding,) = found(tmp_path, "D121")
    assert finding.standing == "suspected"
    assert "sform" in finding.message


def test_a_link_to_nothing_is_a_missing_file(tmp_path: Path) -> None:
    radiograph_folder(tmp_path)
    (tmp_path / "images" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    (finding,) = found(tmp_path, "D121")
    assert "gone.png (a link to nothing)" in finding.message


@pytest.mark.parametrize("kind", ["rgb", "complex", "empty", "four"])
def test_unusual_arrays_are_read_or_refused_in_words(tmp_path: Path, kind: str) -> None:
    import nibabel as nib

    segmentation_folder(tmp_path)
    rng = np.random.default_rng(0)
    if kind == "rgb":
        array = np.zeros((5, 6, 7), dtype=[("R", "u1"), ("G", "u1"), ("B", "u1")])
        array["R"] = rng.integers(0, 255, array.shape)
        nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / "odd.nii.gz")
    elif kind == "complex":
        nib.save(nib.Nifti1Image(np.ones((5, 6, 7), np.complex64), np.eye(4)), tmp_path / "odd.nii.gz")
    elif kind == "empty":
        np.save(tmp_path / "odd.npy", np.zeros((0, 5)))
    else:
        nib.save(nib.Nifti1Image(rng.normal(size=(5, 6, 7, 3)), np.eye(4)), tmp_path / "odd.nii.gz")
    reasons = [finding.message for finding in found(tmp_path, "D121")]
    expected = {"rgb": [], "four": [], "complex": ["complex numbers"], "empty": ["no values"]}[kind]
    assert len(reasons) == len(expected)
    assert all(word in reason for word, reason in zip(expected, reasons, strict=True))
