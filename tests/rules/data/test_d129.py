"""D129: slices that do not stack."""

from __future__ import annotations

from pathlib import Path

from patients.folders import ct_volume, found, write_dicom, write_series


def test_regular_series_is_silent(tmp_path: Path) -> None:
    write_series(tmp_path / "a", 0)
    assert found(tmp_path, "D129") == []


def test_gap(tmp_path: Path) -> None:
    files = write_series(tmp_path / "a", 0, slices=8)
    files[4].unlink()
    (finding,) = found(tmp_path, "D129")
    assert finding.standing == "suspected"
    assert "2 to 4 mm" in finding.message


def test_rounded_positions_are_no_gap(tmp_path: Path) -> None:
    for number, hu in enumerate(ct_volume(0)[4:12]):
        position = [0, 0, round(number * 1.6667, 1)]
        write_dicom(tmp_path / f"{number}.dcm", hu, ImagePositionPatient=position, SliceThickness=1.6667)
    assert found(tmp_path, "D129") == []


def test_names_out_of_order(tmp_path: Path) -> None:
    for number, hu in enumerate(ct_volume(0)[3:15]):
        write_dicom(tmp_path / f"slice{number}.dcm", hu, ImagePositionPatient=[0, 0, 2 * number])
    (finding,) = found(tmp_path, "D129")  # slice10 sorts behind slice1
    assert "do not sort in slice order" in finding.message


def test_head_first_or_feet_first_are_both_in_order(tmp_path: Path) -> None:
    for number, hu in enumerate(ct_volume(0)[3:12]):
        write_dicom(tmp_path / f"slice{number}.dcm", hu, ImagePositionPatient=[0, 0, -2 * number])
    assert found(tmp_path, "D129") == []


def test_two_phases_at_one_place(tmp_path: Path) -> None:
    write_series(tmp_path / "a", 0, SeriesInstanceUID="1.7")
    write_series(tmp_path / "b", 1, SeriesInstanceUID="1.7")
    (finding,) = found(tmp_path, "D129", select=["D129"])
    assert "one place" in finding.message or "sort" in finding.message


def test_localiser_in_the_series(tmp_path: Path) -> None:
    write_series(tmp_path / "a", 0, SeriesInstanceUID="1.7")
    header = {"SeriesInstanceUID": "1.7", "ImageOrientationPatient": [1, 0, 0, 0, 0, -1]}
    write_dicom(tmp_path / "a" / "scout.dcm", ct_volume(1)[5], **header)
    (finding,) = found(tmp_path, "D129")
    assert "different geometry" in finding.message


def test_thickness_is_not_the_distance(tmp_path: Path) -> None:
    write_series(tmp_path / "a", 0, step=2.0, SliceThickness=5.0)
    (finding,) = found(tmp_path, "D129")
    assert finding.severity == "note"
    assert "SliceThickness 5 mm, slices 2 mm apart" in finding.message


def test_oblique_series_is_measured_along_its_normal(tmp_path: Path) -> None:
    for number, hu in enumerate(ct_volume(0)[4:12]):
        # Normal of this plane is (0, -0.6, 0.8); slices lie 2 mm apart along it.
        position = [0, -0.6 * 2 * number, 0.8 * 2 * number]
        header = {"ImageOrientationPatient": [1, 0, 0, 0, 0.8, 0.6], "ImagePositionPatient": position}
        write_dicom(tmp_path / f"{number}.dcm", hu, **header)
    assert found(tmp_path, "D129") == []
