"""Tables: what their columns are, and what cannot be used."""

from __future__ import annotations

import math
from pathlib import Path

import pytest

from patients.folders import write_csv
from traindx.data.tables import classes, corners, read_rows, truth, understand
from traindx.errors import InputError


def table(tmp_path: Path, rows: list[dict[str, object]], declared: str = ""):
    return understand(write_csv(tmp_path / "t.csv", rows), "t.csv", declared)


def test_columns_of_a_mixed_table(tmp_path: Path) -> None:
    rows = [
        {
            "id": f"a{k}",
            "PatientID": f"p{k}",
            "split": "train",
            "age": 40 + k,
            "nodule": k % 2,
            "finding": "x",
            "view": "PA",
        }
        for k in range(8)
    ]
    found = table(tmp_path, rows)
    assert (found.id, found.patient, found.split) == ("id", "PatientID", "split")
    assert found.labels == ("nodule", "finding")
    assert found.columns["nodule"].type == "binary"
    assert found.columns["finding"].type == "category"
    assert found.columns["age"].type == "number"


@pytest.mark.parametrize(
    ("columns", "box"),
    [
        ("x0 y0 x1 y1", (10, 20, 30, 50)),
        ("xmin ymin xmax ymax", (10, 20, 30, 50)),
        ("x1 y1 x2 y2", (10, 20, 30, 50)),
        ("x y w h", (10, 20, 40, 70)),
        ("x y width height", (10, 20, 40, 70)),
        ("cx cy w h", (-5, -5, 25, 45)),
    ],
)
def test_box_columns(tmp_path: Path, columns: str, box: tuple[float, ...]) -> None:
    row = dict(zip(columns.split(), (10, 20, 30, 50), strict=True))
    found = table(tmp_path, [{"image_id": "a", "class": "n", **row}], "boxes")
    (first,) = read_rows(found.path)
    assert corners(found, first) == box
    assert found.box_class == "class"


def test_a_cell_that_is_no_number_is_not_a_number(tmp_path: Path) -> None:
    found = table(tmp_path, [{"id": "a", "x0": 1, "y0": "left", "x1": "", "y1": 4}], "boxes")
    (first,) = read_rows(found.path)
    assert [math.isnan(value) for value in corners(found, first)] == [False, True, True, False]


@pytest.mark.parametrize(
    ("declared", "rows", "said"),
    [
        ("boxes", [{"id": "a", "left": 1}], "no box columns"),
        ("splits", [{"id": "a", "group": "x"}], "no split column"),
        ("labels", [{"id": "a", "url": "x"}], "no label columns"),
    ],
)
def test_tables_that_cannot_be_used_say_why(
    tmp_path: Path, declared: str, rows: list[dict[str, object]], said: str
) -> None:
    with pytest.raises(InputError, match=said) as raised:
        table(tmp_path, rows, declared)
    assert raised.value.expected


def test_header_only(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    path.write_text("id,nodule\n", encoding="utf-8")
    with pytest.raises(InputError, match="no rows"):
        understand(path, "t.csv", "labels")
    assert understand(path, "t.csv").columns == {}


@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_delimiters_and_a_byte_order_mark(tmp_path: Path, delimiter: str) -> None:
    path = tmp_path / "t.csv"
    path.write_text(
        "\ufeff" + delimiter.join(("id", "nodule")) + "\n" + delimiter.join(("a", "1")) + "\n", encoding="utf-8"
    )
    assert list(read_rows(path)) == [{"id": "a", "nodule": "1"}]


def test_binary_cells() -> None:
    assert [truth(text) for text in ("1", "0.0", "True", "FALSE", "", "nan", "-1")] == [1, 0, 1, 0, None, None, -1]


@pytest.mark.parametrize(
    ("cell", "names"),
    [("A|B", ["A", "B"]), ("A, B", ["A", "B"]), ("A", ["A"]), ("", []), ("nan", []), ("A;;B", ["A", "B"])],
)
def test_several_classes_in_a_cell(cell: str, names: list[str]) -> None:
    assert classes(cell) == names
