"""Outlines of annotation tools become boxes: LabelMe, VIA and YOLO with polygons, on images of 64 x 64 pixels."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from patients.folders import examined, radiograph, write_png
from traindx.data.layout import outlines

SIDE = 64


def polygon(number: int, beyond: float = 0.0) -> list[list[float]]:
    x, y = 8.0 + number, 40.0 - 2 * number
    return [[x, y], [x + 20 + beyond, y + 4], [x + 12, y + 18.5]]


def labelme(root: Path, outside: bool) -> None:
    for number in range(8):
        points = polygon(number, 60 if outside and number == 5 else 0)
        shapes: list[dict[str, Any]] = [
            {"label": "polyp", "shape_type": "polygon", "points": points},
            {"label": "stone", "shape_type": "circle", "points": [[30, 30], [30, 42]]},
            {"label": "mark", "shape_type": "point", "points": [[200, 200]]},
        ]
        content = {"version": "5", "imagePath": f"..\\images\\{number}.png", "imageData": None, "shapes": shapes}
        write(root / "json" / f"{number}.json", json.dumps(content))


def via(root: Path, outside: bool) -> None:
    content = {}
    for number in range(8):
        points = polygon(number, 60 if outside and number == 5 else 0)
        shape = {"name": "polygon", "all_points_x": [p[0] for p in points], "all_points_y": [p[1] for p in points]}
        rect = {"name": "rect", "x": 3, "y": 4, "width": 30, "height": 20}
        regions = [{"shape_attributes": one, "region_attributes": {"type": "polyp"}} for one in (shape, rect)]
        regions.append({"shape_attributes": {"name": "point", "cx": 99, "cy": 99}, "region_attributes": {}})
        content[f"{number}.png1234"] = {"filename": f"{number}.png", "size": 1234, "regions": regions}
    write(root / "via_region_data.json", json.dumps(content))


def yolo(root: Path, outside: bool) -> None:
    for number in range(8):
        points = polygon(number, 60 if outside and number == 5 else 0)
        corners = " ".join(f"{value / SIDE:.6f}" for point in points for value in point)
        write(root / "labels" / f"{number}.txt", f"0 {corners}\n1 0.5 0.5 0.25 0.25\n")


def write(path: Path, content: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")


@pytest.mark.parametrize("kind", [labelme, via, yolo])
def test_clean_ones_are_silent_and_a_corner_outside_is_found(kind: Any, tmp_path: Path) -> None:
    for number in range(8):
        write_png(tmp_path / "images" / f"{number}.png", radiograph(number, SIDE))
    kind(tmp_path, False)
    diagnosis = examined(tmp_path)
    assert [
        said
        for said in diagnosis.extras["layout"]["lines"]
        if "boxes, joined by file name" in said and "8 of 8" in said
    ]
    assert [finding.code for finding in diagnosis.findings if finding.code in ("D106", "D122")] == []
    kind(tmp_path, True)
    (finding,) = [finding for finding in examined(tmp_path).findings if finding.code == "D106"]
    assert "1 of 16 boxes" in finding.message
    assert finding.standing == "demonstrated"
    assert "5" in finding.offenders[0].name


def test_places_of_boxes_are_those_of_the_outlines() -> None:
    assert outlines.around([(3, 9), (1, 2), (8, 4.5)]) == {"xmin": "1", "ymin": "2", "xmax": "8", "ymax": "9"}
    assert outlines.centred(["0.1", "0.2", "0.5", "0.2", "0.5", "0.8"]) == ("0.3", "0.5", "0.4", "0.6")


@pytest.mark.parametrize(
    "content",
    [
        {"imagePath": "a.png", "shapes": [{"points": [[1, 2]]}, {"points": "x"}, 7, {"shape_type": "line"}]},
        {"imagePath": "a.png", "shapes": []},
        {"shapes": [{"points": [[1, 2], [3, 4]]}]},
    ],
)
def test_what_encloses_nothing_is_no_box(content: dict[str, Any]) -> None:
    assert list(outlines.labelme("a.json", content)) == []


@pytest.mark.parametrize(
    "content",
    [
        {"a": {"filename": "a.png", "regions": [{"shape_attributes": {"name": "rect", "width": 3}}, 7, {}]}},
        {"a": {"filename": "a.png", "regions": {}}, "b": 3},
        {"_via_img_metadata": []},
    ],
)
def test_broken_regions_are_no_boxes(content: dict[str, Any]) -> None:
    assert outlines.via("a.json", content) == []


@pytest.mark.parametrize("drawn_on", [(SIDE, SIDE), (0, 0), (None, None), (2 * SIDE, 2 * SIDE)])
def test_the_size_that_boxes_were_drawn_on(drawn_on: tuple[int | None, int | None], tmp_path: Path) -> None:
    for number in range(8):
        write_png(tmp_path / f"{number}.png", radiograph(number, SIDE))
    width, height = drawn_on
    content = {
        "images": [{"id": k, "file_name": f"{k}.png", "width": width, "height": height} for k in range(8)],
        "annotations": [{"id": k, "image_id": k % 8, "category_id": 1, "bbox": [4, 6, 20, 30 + k]} for k in range(16)],
        "categories": [{"id": 1, "name": "cell"}],
    }
    write(tmp_path / "instances.json", json.dumps(content))
    findings = [finding for finding in examined(tmp_path).findings if finding.code == "D106"]
    assert [(finding.standing, finding.variant) for finding in findings] == [("suspected", "size")] * (
        width == 2 * SIDE
    )
    assert all("8 of 8 images" in finding.message for finding in findings)
