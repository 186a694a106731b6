"""D126: windows of another modality."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from patients.folders import found, radiograph, radiograph_folder, write_dicom, write_png, write_series


def radiographs(root: Path, center: float, width: float) -> list[object]:
    for number in range(4):
        stored = radiograph(number).astype(np.uint16) * 12 + 500
        header = {"Modality": "DX", "SeriesInstanceUID": f"1.{number}", "WindowCenter": center, "WindowWidth": width}
        write_dicom(root / f"{number}.dcm", stored, **header)
    return found(root, "D126")


def test_ct_window_in_the_header_of_a_radiograph(tmp_path: Path) -> None:
    (finding,) = radiographs(tmp_path, 40, 400)
    assert finding.standing == "suspected"
    assert finding.numbers["starved"] == 4
    assert finding.numbers["median inside"] == 0.0


def test_window_that_fits_is_silent(tmp_path: Path) -> None:
    assert radiographs(tmp_path, 2000, 3000) == []


def test_soft_tissue_window_on_ct_is_silent(tmp_path: Path) -> None:
    write_series(tmp_path / "a", 0, WindowCenter=40, WindowWidth=400)
    assert found(tmp_path, "D126") == []


def test_padding_does_not_count(tmp_path: Path) -> None:
    from patients.folders import ct_volume

    for number, hu in enumerate(ct_volume(0)[8:12]):
        padded = np.full((96, 192), -2000, np.int16)
        padded[:48, :48] = hu
        write_dicom(
            tmp_path / f"{number}.dcm",
            padded,
            WindowCenter=40,
            WindowWidth=400,
            PixelPaddingValue=-2000,
            ImagePositionPatient=[0, 0, number],
        )
    assert found(tmp_path, "D126") == []


def test_ct_window_burnt_into_a_radiograph(tmp_path: Path) -> None:
    """12 bits through [-160, 240] as a CT pipeline does it: nearly all white."""
    names = radiograph_folder(tmp_path)
    assert found(tmp_path, "D126") == []
    for number, name in enumerate(names):
        stored = radiograph(number).astype(float) * 4
        windowed = (np.clip(stored, -160, 240) + 160) / 400 * 255
        write_png(tmp_path / "images" / f"{name}.png", windowed.astype(np.uint8))
    (finding,) = found(tmp_path, "D126")
    assert finding.numbers["burnt"] == 12
    assert finding.severity == "major"


def test_black_borders_are_no_window(tmp_path: Path) -> None:
    for number in range(10):
        framed = np.zeros((128, 128), np.uint8)
        framed[32:96, 32:96] = radiograph(number)
        write_png(tmp_path / f"{number}.png", framed)
    assert found(tmp_path, "D126") == []


def test_few_grey_values(tmp_path: Path) -> None:
    names = radiograph_folder(tmp_path, 20)
    write_png(tmp_path / "images" / f"{names[0]}.png", radiograph(0) // 16 * 16)
    assert found(tmp_path, "D126") == []  # one of twenty
    for number, name in enumerate(names[:12]):
        write_png(tmp_path / "images" / f"{name}.png", radiograph(number) // 16 * 16)
    (finding,) = found(tmp_path, "D126")
    assert finding.standing == "suspected"
    assert finding.severity == "major"
    assert finding.numbers["coarse"] == 12


def test_tiny_images_need_not_hold_many_values(tmp_path: Path) -> None:
    for number in range(6):
        write_png(tmp_path / f"{number}.png", np.random.default_rng(number).integers(0, 20, (16, 16), dtype=np.uint8))
    assert found(tmp_path, "D126") == []


def test_the_white_of_a_slide_is_no_window(tmp_path: Path) -> None:
    """Bright field: the lamp saturates the background of a coloured smear."""
    rows, columns = np.mgrid[:64, :64] - 32
    for number in range(8):
        cell = (rows - number) ** 2 + columns**2 < 200
        noise = np.random.default_rng(number).integers(0, 60, (64, 64))
        image = np.where(cell[..., None], np.stack([80 + noise, 40 + noise, 120 + noise], -1), 255)
        write_png(tmp_path / f"cell_{number}.png", image.astype(np.uint8))
    assert found(tmp_path, "D126") == []
