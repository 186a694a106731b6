"""D107: labels against boxes."""

from __future__ import annotations

from pathlib import Path

from patients.folders import found, radiograph_folder, tables, write_csv


def with_tables(root: Path, labels: dict[int, int], boxed: set[int]) -> list[object]:
    names = radiograph_folder(root, 12)
    write_csv(root / "labels.csv", [{"id": name, "nodule": labels.get(k, 0)} for k, name in enumerate(names)])
    rows = [{"id": f"{names[k]}.png", "class": "Nodule", "x0": 10, "y0": 10, "x1": 20, "y1": 20} for k in sorted(boxed)]
    write_csv(root / "boxes.csv", rows)
    return found(root, "D107", **tables(root))


def test_box_of_a_class_that_the_label_denies(tmp_path: Path) -> None:
    (finding,) = with_tables(tmp_path, {1: 1, 2: 1, 3: 1}, {1, 2, 3, 5})
    assert finding.standing == "demonstrated"
    assert finding.numbers["boxed but negative"] == 1
    assert "case_05" in finding.message


def test_positive_without_box_is_suspected_where_most_have_one(tmp_path: Path) -> None:
    (finding,) = with_tables(tmp_path, {1: 1, 2: 1, 3: 1, 4: 1}, {1, 2, 3})
    assert finding.standing == "suspected"
    assert "case_04" in finding.message


def test_boxes_for_a_minority_say_nothing(tmp_path: Path) -> None:
    assert with_tables(tmp_path, dict.fromkeys(range(8), 1), {1, 2}) == []


def test_agreement_is_silent_in_every_spelling_of_class_and_file(tmp_path: Path) -> None:
    assert with_tables(tmp_path, {1: 1, 2: 1, 3: 1}, {1, 2, 3}) == []


def test_an_uncertain_label_contradicts_nothing(tmp_path: Path) -> None:
    assert with_tables(tmp_path, {1: 1, 2: 1, 3: 1, 5: -1}, {1, 2, 3, 5}) == []


def test_column_of_names(tmp_path: Path) -> None:
    names = radiograph_folder(tmp_path, 12)
    cells = [{"id": name, "finding": "nodule" if k % 2 else "effusion"} for k, name in enumerate(names)]
    write_csv(tmp_path / "labels.csv", cells)
    rows = [{"id": names[k], "class": "nodule", "x0": 10, "y0": 10, "x1": 20, "y1": 20} for k in (1, 3, 5, 7, 9, 11, 2)]
    write_csv(tmp_path / "boxes.csv", rows)
    (finding,) = found(tmp_path, "D107", **tables(tmp_path))
    assert finding.standing == "demonstrated"
    assert "case_02" in finding.message
