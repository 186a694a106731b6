"""D127: boxes that vanish on the network's map."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from patients.folders import found, radiograph_folder, write_csv
from traindx.data.audit.boxes import holds_a_centre


def boxed(root: Path, side: float, count: int = 400, **options: object) -> list[object]:
    """Square boxes of a relative side, anywhere in the image."""
    names = radiograph_folder(root, 8)
    rng = np.random.default_rng(0)
    rows = []
    for number in range(count):
        x, y = rng.uniform(0, 1 - side, 2)
        rows.append({"id": names[number % 8], "class": "a", "x0": x, "y0": y, "x1": x + side, "y1": y + side})
    write_csv(root / "boxes.csv", rows)
    return found(root, "D127", boxes=root / "boxes.csv", **options)


def test_small_boxes_vanish_as_often_as_geometry_says(tmp_path: Path) -> None:
    """8 pixels of 224 on a 14 x 14 map: a cell has 16, so a centre is hit with probability 1/4."""
    (finding,) = boxed(tmp_path, 8 / 224, count=2000)
    assert finding.standing == "suspected"
    assert finding.severity == "note"  # the size of the map is a guess
    assert finding.numbers["vanished"] / 2000 == pytest.approx(0.75, abs=0.03)
    assert "assumed" in finding.message


def test_a_map_that_was_given_makes_it_major(tmp_path: Path) -> None:
    (finding,) = boxed(tmp_path, 8 / 224, map_size=14)
    assert finding.severity == "major"
    assert "assumed" not in finding.message


def test_boxes_larger_than_a_cell_stay(tmp_path: Path) -> None:
    assert boxed(tmp_path, 17 / 224) == []


def test_a_finer_map_keeps_them(tmp_path: Path) -> None:
    assert boxed(tmp_path, 8 / 224, map_size=32) == []


def test_the_task_knows_its_map(tmp_path: Path) -> None:
    (finding,) = boxed(tmp_path, 8 / 224, task="concepts")
    assert "assumed" not in finding.message


def test_one_small_box_of_many_is_silent(tmp_path: Path) -> None:
    names = radiograph_folder(tmp_path, 8)
    rows = [{"id": names[k % 8], "x0": 0.2, "y0": 0.2, "x1": 0.5, "y1": 0.6} for k in range(200)]
    write_csv(tmp_path / "boxes.csv", [*rows, {"id": names[0], "x0": 0.01, "y0": 0.01, "x1": 0.02, "y1": 0.02}])
    assert found(tmp_path, "D127", boxes=tmp_path / "boxes.csv") == []


def test_one_class_may_vanish_while_the_rest_stays(tmp_path: Path) -> None:
    names = radiograph_folder(tmp_path, 8)
    large = [{"id": names[k % 8], "class": "mass", "x0": 0.2, "y0": 0.2, "x1": 0.5, "y1": 0.6} for k in range(1000)]
    small = [{"id": names[k], "class": "nodule", "x0": 0.0, "y0": 0.0, "x1": 0.03, "y1": 0.03} for k in range(4)]
    write_csv(tmp_path / "boxes.csv", large + small)
    (finding,) = found(tmp_path, "D127", boxes=tmp_path / "boxes.csv")
    assert "4 of 4 nodule" in finding.message


@pytest.mark.parametrize("size", [1, 7, 14, 32])
def test_centres_against_brute_force(size: int) -> None:
    rng = np.random.default_rng(size)
    centres = (np.arange(size) + 0.5) / size
    for low, high in np.sort(rng.uniform(0, 1, (500, 2)), axis=1):
        assert holds_a_centre(low, high, size) == bool(np.any((centres >= low) & (centres < high)))
