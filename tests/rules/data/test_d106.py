"""D106: boxes that cannot be boxes of their image (radiographs of 64 x 64 pixels)."""

from __future__ import annotations

from pathlib import Path

import pytest

from patients.folders import found, radiograph_folder, tables, write_csv


def boxed(root: Path, *boxes: tuple[float, float, float, float], columns: str = "x0 y0 x1 y1") -> list[object]:
    names = radiograph_folder(root)
    good = (10.0, 12.0, 26.0, 30.0)
    every = [good] * (9 - len(boxes)) + list(boxes)
    rows = [
        {"id": name, "class": "a", **dict(zip(columns.split(), (value + 0.001 * k for value in box), strict=True))}
        for k, (name, box) in enumerate(zip(names, every, strict=False))
    ]
    write_csv(root / "boxes.csv", rows)
    return found(root, "D106", boxes=tables(root)["boxes"])


@pytest.mark.parametrize(
    ("box", "what"),
    [
        ((50, 50, 70, 60), "outside the image"),
        ((-9, 5, 20, 20), "outside the image"),
        ((5, 40, 20, 64 + 5), "outside the image"),
        ((30, 10, 20, 25), "with swapped corners"),
        ((10, 25, 20, 15), "with swapped corners"),
        ((10, 10, 10, 25), "without area"),
        ((10, 25, 20, 25), "without area"),
        ((10, float("nan"), 20, 25), "with missing numbers"),
        ((0.2, 0.2, 0.5, 0.6), "relative among pixels"),
    ],
)
def test_one_bad_box_is_demonstrated(tmp_path: Path, box: tuple[float, ...], what: str) -> None:
    (finding,) = boxed(tmp_path, box)
    assert finding.standing == "demonstrated"
    assert finding.numbers[what] == 1
    assert "1 of 9 boxes" in finding.message
    assert finding.location.line == 10  # the header is line 1, the bad box the ninth row


def test_boxes_up_to_the_very_border_are_in_order(tmp_path: Path) -> None:
    assert boxed(tmp_path, (0, 0, 63.9, 63.9), (60, 60, 63.9, 63.9)) == []


def test_width_and_height_under_their_own_names_are_understood(tmp_path: Path) -> None:
    assert boxed(tmp_path, (40, 40, 20, 20), columns="x y width height") == []
    (finding,) = boxed(tmp_path, (50, 50, 20, 20), columns="x y width height")
    assert finding.numbers["outside the image"] == 1


def test_width_and_height_in_corner_columns_are_named(tmp_path: Path) -> None:
    (finding,) = boxed(tmp_path, *[(30.0, 30.0, 12.0, 14.0)] * 4)
    assert finding.numbers["with swapped corners"] == 4
    assert "valid as x, y, width, height" in finding.message


def test_boxes_of_another_image_size_are_named(tmp_path: Path) -> None:
    (finding,) = boxed(tmp_path, *[(400.0, 300.0, 600.0, 500.0)] * 6)
    assert "another size" in finding.message


def test_relative_boxes_are_in_order_and_a_pixel_box_among_them_is_not(tmp_path: Path) -> None:
    relative = [(0.1, 0.2, 0.5, 0.6)] * 9
    assert boxed(tmp_path, *relative) == []
    (finding,) = boxed(tmp_path, *relative[:-1], (10.0, 12.0, 26.0, 30.0))
    assert finding.numbers["in pixels among relative ones"] == 1


def test_repeated_boxes_are_a_note(tmp_path: Path) -> None:
    names = radiograph_folder(tmp_path)
    rows = [{"id": name, "class": "a", "x0": 10, "y0": 10, "x1": 20, "y1": 20} for name in [*names, names[0]]]
    write_csv(tmp_path / "boxes.csv", rows)
    (finding,) = found(tmp_path, "D106", boxes=tables(tmp_path)["boxes"])
    assert (finding.standing, finding.severity) == ("suspected", "note")
    assert finding.numbers["repeated"] == 1


def test_two_classes_may_share_a_box(tmp_path: Path) -> None:
    names = radiograph_folder(tmp_path)
    rows = [{"id": names[0], "class": kind, "x0": 10, "y0": 10, "x1": 20, "y1": 20} for kind in "ab"]
    write_csv(tmp_path / "boxes.csv", rows)
    assert found(tmp_path, "D106", boxes=tables(tmp_path)["boxes"]) == []
