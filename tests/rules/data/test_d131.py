"""D131: formats that hide behind a suffix."""

from __future__ import annotations

from pathlib import Path

from patients.folders import examined, found, radiograph, write_png, write_series


def test_usual_suffixes_are_silent(tmp_path: Path) -> None:
    write_series(tmp_path, 0)
    diagnosis = examined(tmp_path)
    assert "D131" not in [finding.code for finding in diagnosis.findings]
    assert "D131" not in [left.subject for left in diagnosis.not_examined]


def test_less_usual_suffixes_of_a_format_hide_nothing(tmp_path: Path) -> None:
    """Near miss: every one of them is a suffix of its own format, in capitals too."""
    for file, suffix in zip(write_series(tmp_path, 0), (".dcm", ".DCM", ".dicom", ".ima", ".IMA", ".dcm"), strict=True):
        file.rename(file.with_suffix(suffix))
    write_png(tmp_path / "a.PNG", radiograph(0))
    assert found(tmp_path, "D131") == []


def test_dicom_without_suffix_is_read_and_noted(tmp_path: Path) -> None:
    for file in write_series(tmp_path, 0):
        file.rename(file.with_name(f"CT.1.3.12.{file.stem}"))
    (finding,) = found(tmp_path, "D131")
    assert (finding.standing, finding.severity) == ("suspected", "note")
    assert "6 of 6 DICOM files have no suffix" in finding.message


def test_half_of_them_hidden_is_worse(tmp_path: Path) -> None:
    for file in write_series(tmp_path, 0)[:3]:
        file.rename(file.with_suffix(""))
    (finding,) = found(tmp_path, "D131")
    assert finding.severity == "minor"


def test_dicom_called_png(tmp_path: Path) -> None:
    write_series(tmp_path, 0)[0].rename(tmp_path / "picture.png")
    (finding,) = found(tmp_path, "D131")
    assert ".png" in finding.message


def test_unknown_files_are_listed_not_judged(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", radiograph(0))
    (tmp_path / "model.weights").write_bytes(b"1234")
    assert found(tmp_path, "D131") == []
