"""Tables as sets keep them: separators, missing headers, paths as names, codes, and what is no label."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from patients.folders import examined, found, radiograph, write_csv, write_png
from traindx.data.audit import pairs
from traindx.data.dialect import dialect, number, read_rows
from traindx.data.layout.sidecars import box_tables, split_lists
from traindx.data.tables import corners, understand


def text(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


@pytest.mark.parametrize(
    ("content", "header", "separator"),
    [
        ("id,label\na,1\nb,0\n", True, ","),
        ("id;size;label\na;1,5;1\nb;2,5;0\n", True, ";"),
        ("ISIC_0000000,benign\nISIC_0000001,malignant\nISIC_0000002,benign\n", False, ","),
        ("MURA/train/p1/study1/,1\nMURA/train/p2/study1/,0\n", False, ","),
        ("MURA/train/p1/study1/image1.png\nMURA/train/p1/study1/image2.png\n", False, ","),
        ("x0,y0,x1,y1\n1,2,3,4\n", True, ","),
        ("name,finding\na,nodule\nb,mass\n", True, ","),
        ("participant_id\tage\nsub-01\t30\nsub-02\t31\n", True, "\t"),
        ("1,0.5\n2,0.7\n3,0.1\n", False, ","),
    ],
)
def test_dialects(tmp_path: Path, content: str, header: bool, separator: str) -> None:
    found_ = dialect(text(tmp_path / "t.csv", content))
    assert (found_.header, found_.separator) == (header, separator)
    assert len(list(read_rows(tmp_path / "t.csv"))) == content.count("\n") - header


def test_decimal_commas() -> None:
    assert [number(cell) for cell in ("1,5", "-0,25", "3", "1,2,3", "a", "")] == [1.5, -0.25, 3.0, None, None, None]


def test_identifiers_readers_folds_epochs_and_metrics_are_no_labels(tmp_path: Path) -> None:
    rows = [
        {"": k, "image_id": f"a{k}", "rad_id": k % 2, "Follow-up #": k % 2, "kfold": k % 2, "epoch": k % 2,
         "val_auc": k % 2, "Frontal/Lateral": k % 2, "oof_pred": k % 2, "AcquisitionNumber": k % 2,
         "PartialFourier": k % 2, "EchoTrain": k % 2, "PatientSpeciesDescription": k % 2, "pneumonia": k % 2,
         "No Finding": (k + 1) % 2}
        for k in range(8)
    ]  # fmt: skip
    table = understand(write_csv(tmp_path / "t.csv", rows), "t.csv")
    assert table.labels == ("pneumonia", "No Finding")
    assert table.split == "kfold"
    assert table.reader == "rad_id"


def test_a_column_that_nobody_filled_is_no_label(tmp_path: Path) -> None:
    rows = [{"image": f"a{k}", "pathology": "unknown", "diagnosis": "unknown" if k else "MS"} for k in range(6)]
    assert understand(write_csv(tmp_path / "t.csv", rows), "t.csv").labels == ("diagnosis",)
    assert understand(tmp_path / "t.csv", "t.csv", "labels").labels == ("pathology", "diagnosis")


def test_a_table_that_nothing_is_known_of_is_named(tmp_path: Path) -> None:
    """It speaks of the images, so that somebody could think it had been checked."""
    for k in range(6):
        write_png(tmp_path / f"a{k}.png", radiograph(k))
    write_csv(tmp_path / "t.csv", [{"image": f"a{k}", "volume_ml": 1.5 * k + 0.25} for k in range(6)])
    write_csv(
        tmp_path / "header.csv", [{"image": f"a{k}", "EchoTime": k, "FlipAngle": 9, "ImageType": "M"} for k in range(6)]
    )
    write_csv(tmp_path / "other.csv", [{"run": f"r{k}", "value": k / 7} for k in range(6)])
    unclear = examined(tmp_path).extras["layout"]["unclear"]
    assert [one.partition(":")[0] for one in unclear] == ["table t.csv"]
    assert "volume_ml" in unclear[0]


def test_a_form_for_predictions_holds_no_labels(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "sample_submission.csv", [{"id": f"a{k}", "target": 0} for k in range(9)])
    assert understand(path, "sample_submission.csv").labels == ()


@pytest.mark.parametrize(
    ("cells", "box"),
    [
        ({"x": "", "y": "", "width": "", "height": ""}, None),
        ({"x": "-1", "y": "-1", "width": "-1", "height": "-1"}, None),
        ({"Bbox [x": "1", "y": "2", "w": "3", "h]": "4"}, (1, 2, 4, 6)),
        ({"bbox_left": "1", "bbox_top": "2", "bbox_right": "3", "bbox_bottom": "4"}, (1, 2, 3, 4)),
        ({"bbox": "[1.0, 2.0, 30, 40]"}, (1, 2, 30, 40)),
    ],
)
def test_boxes_and_negatives(tmp_path: Path, cells: dict[str, str], box: tuple[float, ...] | None) -> None:
    table = understand(write_csv(tmp_path / "t.csv", [{"image": "a", **cells}]), "t.csv", "boxes")
    (row,) = read_rows(table.path)
    assert corners(table, row) == box


def test_four_numbers_in_a_cell_are_sizes_where_they_cannot_be_corners(tmp_path: Path) -> None:
    rows = [{"image_id": f"a{k}", "bbox": f"[{40 + k}, 50, 12.5, 9]"} for k in range(5)]
    table = understand(write_csv(tmp_path / "t.csv", rows), "t.csv", "boxes")
    assert table.box_form == "size"


def test_a_class_that_means_nothing_there_has_no_box(tmp_path: Path) -> None:
    rows = [{"id": "a", "class_name": "No finding", "x0": 0, "y0": 0, "x1": 1, "y1": 1}]
    table = understand(write_csv(tmp_path / "t.csv", rows), "t.csv", "boxes")
    (row,) = read_rows(table.path)
    assert corners(table, row) is None


def repeated_names(root: Path) -> None:
    """Names repeat; the path tells them apart, and begins above the data folder."""
    rows = []
    for patient in range(8):
        for view in ("frontal", "lateral"):
            seed = patient * 2 + (view == "lateral")
            write_png(root / "train" / f"patient{patient:03}" / f"view_{view}.png", radiograph(seed, 64))
            rows.append(
                {"Path": f"Set-v1/train/patient{patient:03}/view_{view}.png", "Edema": "1.0" if seed % 3 else ""}
            )
    write_csv(root / "train.csv", rows)


def test_names_that_repeat_are_joined_by_path(tmp_path: Path) -> None:
    repeated_names(tmp_path)
    diagnosis = examined(tmp_path)
    assert diagnosis.findings == ()
    assert any("joined by path “Path” (16 of 16)" in line for line in diagnosis.extras["layout"]["lines"])
    (tmp_path / "train" / "patient003" / "view_lateral.png").unlink()
    (finding,) = found(tmp_path, "D122")
    assert "patient003/view_lateral" in finding.message
    assert finding.standing == "suspected"


def test_blanks_are_the_other_class_where_nothing_says_zero(tmp_path: Path) -> None:
    """All given cells are 1: as a column of answers it is constant, as a column of mentions it is not."""
    repeated_names(tmp_path)
    assert found(tmp_path, "D104", labels=tmp_path / "train.csv") == []
    path = tmp_path / "train.csv"
    path.write_text(path.read_text(encoding="utf-8").replace(".png,\n", ".png,1.0\n"), encoding="utf-8")
    (finding,) = found(tmp_path, "D104", labels=path)
    assert finding.standing == "demonstrated"


def test_one_table_a_split_is_one_table(tmp_path: Path) -> None:
    for split, start in (("train", 0), ("valid", 20)):
        rows = []
        for place in range(start, start + 9):
            write_png(tmp_path / split / f"i{place:02}.png", radiograph(place, 64))
            rows.append({"image_id": f"i{place:02}", "mass": place % 2 if split == "train" else 0})
        write_csv(tmp_path / f"{split}.csv", rows)
    assert found(tmp_path, "D122") == []
    assert [finding for finding in found(tmp_path, "D104") if "all" in finding.message] == []


def test_sidecars_become_box_tables(tmp_path: Path) -> None:
    text(
        tmp_path / "Annotations" / "a.xml",
        "<annotation><filename>a.jpg</filename>\n<object><name>polyp</name><bndbox><xmin>1</xmin><ymin>2</ymin>"
        "<xmax>30</xmax><ymax>40</ymax></bndbox></object></annotation>",
    )
    text(tmp_path / "labels" / "b.txt", "1 0.5 0.5 0.25 0.5\n")
    text(tmp_path / "labels" / "c.txt", "")
    text(tmp_path / "notes" / "readme.txt", "1 2 3\n")
    text(tmp_path / "data.yaml", "train: images\nnames:\n  0: polyp\n  1: ulcer\n")
    coco = {
        "images": [{"id": 7, "file_name": "d.jpg"}],
        "annotations": [{"id": 1, "image_id": 7, "category_id": 2, "bbox": [1, 2, 3, 4]}],
        "categories": [{"id": 2, "name": "cell"}],
    }
    text(tmp_path / "instances.json", json.dumps(coco))
    text(tmp_path / "other.json", json.dumps({"images": 3}))
    text(tmp_path / "broken.json", "{")
    names = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()]
    seen = {}
    for table in box_tables(str(tmp_path), names):
        (row,) = table.rows()
        seen[table.name] = (table.key(row), row["class"], corners(table, row), row["at"])
    assert seen == {
        "instances.json": ("d", "cell", (1, 2, 4, 6), "instances.json#annotations[0]"),
        "Annotations": ("a", "polyp", (1, 2, 30, 40), "Annotations/a.xml:2"),
        "labels": ("b", "ulcer", (0.375, 0.25, 0.625, 0.75), "labels/b.txt:1"),
    }


def test_lists_of_splits(tmp_path: Path) -> None:
    for use in ("Main", "Seg"):
        text(tmp_path / "sets" / use / "train.txt", "a\nb\n")
        text(tmp_path / "sets" / use / "val.txt", "c 1\n")
        text(tmp_path / "sets" / use / "trainval.txt", "a\nb\nc\n")
        text(tmp_path / "sets" / use / "polyp_train.txt", "a -1\n")
    text(tmp_path / "train_val_list.txt", "d.png\n")
    text(tmp_path / "test_list.txt", "e.png\n")
    text(tmp_path / "splits_final.json", json.dumps([{"train": ["a"], "val": ["b"]}]))
    names = [str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*") if path.is_file()]
    lists = sorted(split_lists(str(tmp_path), names))
    assert [row for row in lists if "Main" in row[0]] == [
        ("lists in sets/Main", "a", "train"), ("lists in sets/Main", "b", "train"), ("lists in sets/Main", "c", "val"),
    ]  # fmt: skip
    assert ("lists in .", "d.png", "train") in lists
    assert ("lists in .", "e.png", "test") in lists
    assert ("splits_final.json[0]", "b", "val") in lists


@pytest.mark.parametrize(
    ("image", "mask", "differ"),
    [
        ("20x24x18x2", "20x24x18", False),
        ("4x18x24x20", "18x24x20", False),
        ("20x24x18x2", "20x24x17", True),
        ("64x80x3", "64x80", False),
        ("5x64x80", "64x80", True),
    ],
)
def test_channels_and_times_are_no_difference_of_shape(image: str, mask: str, differ: bool) -> None:
    assert pairs._differ_in_shape(image, mask) is differ
