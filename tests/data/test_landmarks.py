"""Tables of landmarks: which columns are places, and whether they lie in their image (64 x 80 pixels)."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from patients.folders import examined, found, write_csv, write_png
from traindx.data.headers import coordinate
from traindx.data.tables import understand

HEIGHT, WIDTH = 64, 80


def landmarks(root: Path, place: Callable[[int], tuple[object, object]], **more: object) -> Path:
    """Twelve images and a table ``points.csv`` with the fovea of each where ``place`` puts it."""
    random = np.random.default_rng(0)
    for number in range(12):
        write_png(root / "images" / f"{number}.png", random.integers(0, 200, (HEIGHT, WIDTH)).astype(np.uint8))
    rows = [{"data": k, "Fovea_X": place(k)[0], "Fovea_Y": place(k)[1], **more} for k in range(12)]
    write_csv(root / "points.csv", rows)
    return root


def inside(k: int) -> tuple[float, float]:
    return 70.5 - k, 3.25 + 4 * k


@pytest.mark.parametrize(
    ("header", "called"),
    [
        ("fovea_x", "fovea"), ("x", "point"), ("x1", "1"), ("point_x_3", "point_3"), ("lm4x", "lm4"),
        ("max", ""), ("index", ""), ("spacing_x", ""), ("bbox_x", ""), ("umap_x", ""), ("dx", ""),
    ],
)  # fmt: skip
def test_which_headers_are_places(header: str, called: str) -> None:
    found_ = coordinate(header)
    assert (found_[0] if found_ else "") == called


def test_a_table_of_places_is_understood_and_silent(tmp_path: Path) -> None:
    diagnosis = examined(landmarks(tmp_path, inside))
    (line,) = [said for said in diagnosis.extras["layout"]["lines"] if "points.csv" in said]
    assert "landmarks (fovea)" in line
    assert "12 of 12" in line
    assert [finding for finding in diagnosis.findings if finding.code in ("D106", "D122")] == []


def test_places_of_another_size_are_demonstrated(tmp_path: Path) -> None:
    (finding,) = found(landmarks(tmp_path, lambda k: (2.5 * inside(k)[0], 2.5 * inside(k)[1])), "D106")
    assert finding.standing == "demonstrated"
    assert "images of another size" in finding.message
    assert finding.location.file.endswith("points.csv")


def test_exchanged_columns_are_named(tmp_path: Path) -> None:
    (finding,) = found(landmarks(tmp_path, lambda k: (40 - k, 79 - k)), "D106")
    assert finding.standing == "demonstrated"
    assert "x and y exchanged" in finding.message


def test_one_beyond_the_border_is_suspected(tmp_path: Path) -> None:
    (finding,) = found(landmarks(tmp_path, lambda k: (90, 10) if k == 4 else inside(k)), "D106")
    assert (finding.standing, finding.severity) == ("suspected", "minor")
    assert finding.location.line == 6


@pytest.mark.parametrize("unseen", ["", -1])
def test_landmarks_that_nobody_saw_are_none(tmp_path: Path, unseen: object) -> None:
    assert found(landmarks(tmp_path, lambda k: (unseen, unseen) if k % 2 else inside(k)), "D106") == []


def test_the_very_border_and_relative_places_are_in_order(tmp_path: Path) -> None:
    assert found(landmarks(tmp_path / "a", lambda k: (WIDTH, HEIGHT) if k else (0, 0)), "D106") == []
    assert found(landmarks(tmp_path / "b", lambda k: (k / 12, 1 - k / 12)), "D106") == []


def test_another_origin_is_not_judged(tmp_path: Path) -> None:
    diagnosis = examined(landmarks(tmp_path, lambda k: (-40 + 7 * k, 30 - 6 * k)))
    assert [finding for finding in diagnosis.findings if finding.code == "D106"] == []
    assert [one for one in diagnosis.not_examined if "image's corner" in one.reason]


def test_places_in_space_and_boxes_are_no_landmarks(tmp_path: Path) -> None:
    space = write_csv(
        tmp_path / "a.csv", [{"seriesuid": f"s{k}", "coordX": k, "coordY": k, "coordZ": k} for k in (1, 2)]
    )
    boxes = write_csv(tmp_path / "b.csv", [{"image": f"s{k}", "x1": 1, "y1": 2, "x2": 3, "y2": 4} for k in (1, 2)])
    assert understand(space, "a.csv").points == understand(boxes, "b.csv").points == ()


def test_missing_images_of_landmarks_are_said(tmp_path: Path) -> None:
    root = landmarks(tmp_path, inside)
    (root / "images" / "7.png").unlink()
    (finding,) = found(root, "D122")
    assert "points.csv: 7" in finding.message


def test_a_slip_in_a_number_is_demonstrated(tmp_path: Path) -> None:
    (finding,) = found(
        landmarks(tmp_path, lambda k: (inside(k)[0], f"{inside(k)[1]}xQ") if k == 4 else inside(k)), "D106"
    )
    assert finding.standing == "demonstrated"
    assert "1 of 12 landmarks" in finding.message
    assert finding.location.line == 6
