"""D105: classes that are too rare."""

from __future__ import annotations

from pathlib import Path

import pytest

from patients.folders import found, radiograph, write_csv, write_png


def counted(root: Path, positives: int, rows: int) -> list[object]:
    write_png(root / "images" / "case_0.png", radiograph(0))
    write_csv(root / "labels.csv", [{"id": f"case_{k}", "nodule": int(k < positives)} for k in range(rows)])
    return found(root, "D105", labels=root / "labels.csv")


@pytest.mark.parametrize(("positives", "rows"), [(3, 200), (197, 200), (9, 1000), (995, 1000), (15, 2000)])
def test_rare_side_is_suspected(tmp_path: Path, positives: int, rows: int) -> None:
    (finding,) = counted(tmp_path, positives, rows)
    assert finding.standing == "suspected"
    rare = min(positives, rows - positives)
    assert f"nodule {rare} of {rows}" in finding.message
    assert finding.numbers["balancing weight of the rarest"] == pytest.approx((rows - rare) / rare)


@pytest.mark.parametrize(("positives", "rows"), [(10, 900), (450, 900), (890, 900), (6, 12)])
def test_common_enough_is_silent(tmp_path: Path, positives: int, rows: int) -> None:
    """10 of 900 is 1.1 %: just inside both limits. 6 of 12 is a small table, not an imbalance."""
    assert counted(tmp_path, positives, rows) == []


def test_classes_of_a_column_of_names_are_counted_apart_and_several_in_a_cell(tmp_path: Path) -> None:
    write_png(tmp_path / "images" / "case_0.png", radiograph(0))
    cells = ["Nodule"] * 60 + ["Effusion"] * 60 + ["Nodule|Hernia"] * 3
    write_csv(tmp_path / "labels.csv", [{"id": f"case_{k}", "finding": cell} for k, cell in enumerate(cells)])
    (finding,) = found(tmp_path, "D105", labels=tmp_path / "labels.csv")
    assert "finding=Hernia 3 of 123" in finding.message
    assert "Nodule 6" not in finding.message
