"""D104: label columns that never change."""

from __future__ import annotations

from pathlib import Path

import pytest

from patients.folders import found, radiograph_folder, tables, write_csv


def labelled(root: Path, values: list[object], **options: object) -> list[object]:
    names = radiograph_folder(root)
    rows = [{"id": name, "nodule": value} for name, value in zip(names, values, strict=True)]
    write_csv(root / "labels.csv", rows)
    return found(root, "D104", **{**tables(root), **options})


@pytest.mark.parametrize("value", [0, 1, "True", "0.0"])
def test_constant_column_is_demonstrated(tmp_path: Path, value: object) -> None:
    (finding,) = labelled(tmp_path, [value] * 12)
    assert finding.standing == "demonstrated"
    assert "nodule" in finding.message
    assert "12 rows" in finding.message


def test_empty_column_is_demonstrated(tmp_path: Path) -> None:
    (finding,) = labelled(tmp_path, [""] * 12)
    assert finding.standing == "demonstrated"
    assert "empty" in finding.message


def test_one_other_value_is_enough(tmp_path: Path) -> None:
    assert labelled(tmp_path, [1] + [0] * 11, splits=()) == []


def test_table_found_in_the_folder_is_only_suspected(tmp_path: Path) -> None:
    (finding,) = labelled(tmp_path, [0] * 12, labels=(), boxes=(), splits=())
    assert finding.standing == "suspected"


def test_split_without_positives_is_suspected(tmp_path: Path) -> None:
    names = radiograph_folder(tmp_path, 40)
    write_csv(tmp_path / "labels.csv", [{"id": name, "nodule": int(k < 20)} for k, name in enumerate(names)])
    rows = [{"id": name, "patient": f"p{k}", "split": "val" if k >= 28 else "train"} for k, name in enumerate(names)]
    write_csv(tmp_path / "splits.csv", rows)
    (finding,) = found(tmp_path, "D104", **tables(tmp_path))
    assert finding.standing == "suspected"
    assert "0 of 12 in val" in finding.message


def test_a_rare_class_may_be_missing_in_a_small_split(tmp_path: Path) -> None:
    """With 2 of 40 positive, a validation split of 12 has none more often than not: chance, not a fault."""
    names = radiograph_folder(tmp_path, 40)
    write_csv(tmp_path / "labels.csv", [{"id": name, "nodule": int(k < 2)} for k, name in enumerate(names)])
    rows = [{"id": name, "patient": f"p{k}", "split": "val" if k >= 28 else "train"} for k, name in enumerate(names)]
    write_csv(tmp_path / "splits.csv", rows)
    assert found(tmp_path, "D104", **tables(tmp_path)) == []


def test_descriptions_are_not_labels(tmp_path: Path) -> None:
    names = radiograph_folder(tmp_path)
    rows = [{"id": name, "nodule": k % 2, "modality": "X-ray", "license": "CC"} for k, name in enumerate(names)]
    write_csv(tmp_path / "labels.csv", rows)
    assert found(tmp_path, "D104", **tables(tmp_path)) == []
