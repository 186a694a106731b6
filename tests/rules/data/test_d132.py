"""D132: placeholders as classes."""

from __future__ import annotations

from pathlib import Path

from patients.folders import found, radiograph_folder, tables, write_csv


def test_todo_and_question_mark(tmp_path: Path) -> None:
    names = radiograph_folder(tmp_path)
    cells = ["Nodule", "todo", "Effusion"] * 4
    write_csv(tmp_path / "labels.csv", [{"id": n, "finding": c} for n, c in zip(names, cells, strict=True)])
    rows = [
        {"id": n, "class": "?" if k == 2 else "Nodule", "x0": 5, "y0": 5, "x1": 20, "y1": 20}
        for k, n in enumerate(names)
    ]
    write_csv(tmp_path / "boxes.csv", rows)
    first, second = found(tmp_path, "D132", **tables(tmp_path))
    assert {first.standing, second.standing} == {"suspected"}
    assert "“?” 1 times" in first.message
    assert "“todo” 4 times" in second.message


def test_real_classes_are_silent(tmp_path: Path) -> None:
    names = radiograph_folder(tmp_path)
    cells = ["Nodule", "No Finding", "Effusion"] * 4
    write_csv(tmp_path / "labels.csv", [{"id": n, "finding": c} for n, c in zip(names, cells, strict=True)])
    assert found(tmp_path, "D132", **tables(tmp_path)) == []
