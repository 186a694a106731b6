"""The Python call: what it takes, what it writes, what it says of what it did not see."""

from __future__ import annotations

import json
import sqlite3
from pathlib import Path

import numpy as np
import pytest

from patients.folders import (
    examined,
    found,
    organ,
    radiograph,
    radiograph_folder,
    segmentation_folder,
    tables,
    write_nifti,
    write_png,
    write_series,
)
from traindx.data import audit, inspect, verify
from traindx.diagnosis import Diagnosis, Outcome
from traindx.errors import InputError, UsageError
from traindx.evidence import Evidence
from traindx.evidence.dataset import FileCensus, ImageSet
from traindx.progress import Progress


def test_healthy_folders_of_every_kind(tmp_path: Path) -> None:
    radiograph_folder(tmp_path / "a")
    segmentation_folder(tmp_path / "b")
    for seed in range(3):
        write_series(tmp_path / "c" / f"s{seed}", seed)
    for name, options in (("a", tables(tmp_path / "a")), ("b", {"label_values": (0, 1)}), ("c", {})):
        diagnosis = examined(tmp_path / name, **options)
        assert diagnosis.findings == (), name
        assert diagnosis.outcome is Outcome.NOTHING_FOUND
        assert diagnosis.exit_code == 0
        assert len(diagnosis.healthy) >= 8


def test_what_is_written(tmp_path: Path) -> None:
    radiograph_folder(tmp_path / "data", 10)
    write_png(tmp_path / "data" / "images" / "case_03.png", 255 - radiograph(3))
    out = tmp_path / "out"
    diagnosis = examined(tmp_path / "data", out=out, command="traindx data data", **tables(tmp_path / "data"))
    assert Diagnosis.model_validate_json((out / "diagnosis.json").read_text(encoding="utf-8")) == diagnosis
    assert diagnosis.provenance.command == "traindx data data"
    evidence = Evidence.load(out)
    assert evidence.of(FileCensus)[0].images == 10
    assert [(record.role, record.count) for record in evidence.of(ImageSet)] == [("image", 10)]
    for picture in diagnosis.pictures:
        array = np.load(out / picture.file)
        assert array.ndim in (2, 3)
        assert 0 <= array.min() <= array.max() <= 1
    names = {picture.name for picture in diagnosis.pictures}
    assert {"sheet: image 2D image", "negatives: image 2D image"} <= names
    (finding,) = (finding for finding in diagnosis.findings if finding.code == "D124")
    assert set(finding.pictures) <= names
    with sqlite3.connect(out / "files.sqlite") as store:
        assert store.execute("SELECT COUNT(*) FROM items WHERE split = 'val'").fetchone() == (4,)
        (patient,) = store.execute("SELECT patient FROM items WHERE name = 'case_05'").fetchone()
        assert patient.startswith("patient-")
        assert "p2" not in patient


def test_pictures_of_an_earlier_run_are_removed(tmp_path: Path) -> None:
    radiograph_folder(tmp_path / "a", 4)
    segmentation_folder(tmp_path / "b", 2)
    first = examined(tmp_path / "a", out=tmp_path / "out")
    second = examined(tmp_path / "b", out=tmp_path / "out")
    left = {f"pictures/{path.name}" for path in (tmp_path / "out" / "pictures").iterdir()}
    assert left == {picture.file for picture in second.pictures}
    assert not left & {picture.file for picture in first.pictures}


def test_nothing_is_written_without_a_directory(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    radiograph_folder(tmp_path, 3)
    before = sorted(tmp_path.rglob("*"))
    monkeypatch.chdir(tmp_path)
    assert examined(tmp_path).pictures == ()
    assert sorted(tmp_path.rglob("*")) == before


def test_one_file_alone(tmp_path: Path) -> None:
    path = write_nifti(tmp_path / "ct.nii.gz", organ(0)[0])
    diagnosis = examined(path)
    assert diagnosis.extras["census"]["images"] == 1
    assert diagnosis.exit_code == 0
    path.write_bytes(path.read_bytes()[:200])
    (finding,) = found(path, "D121")
    assert Path(finding.location.file) == path


@pytest.mark.parametrize("content", [None, "readme"])
def test_a_folder_without_images_is_not_healthy(tmp_path: Path, content: str | None) -> None:
    if content:
        (tmp_path / "README.txt").write_text("no data here")
    diagnosis = examined(tmp_path)
    assert diagnosis.outcome is Outcome.NOT_ENOUGH_SEEN
    assert diagnosis.exit_code == 3


def test_what_was_not_looked_at_is_listed_with_its_reason(tmp_path: Path) -> None:
    write_png(tmp_path / "a.png", radiograph(0))
    (tmp_path / "b.vtk").write_bytes(b"# vtk DataFile Version 3.0")
    reasons = {record.subject: record.reason for record in examined(tmp_path).not_examined}
    assert "--labels" in reasons["D104 constant-label-column"]
    assert "--splits" in reasons["D108 patient-leak"]
    assert "1 .vtk" in reasons["files of other kinds"]


def test_wrong_paths_tasks_and_rules(tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="does not exist"):
        verify(tmp_path / "nowhere")
    write_png(tmp_path / "a.png", radiograph(0))
    with pytest.raises(UsageError, match="no task 'segmentaton'") as raised:
        verify(tmp_path, task="segmentaton")
    assert "segmentation" in raised.value.expected
    with pytest.raises(InputError, match="does not exist"):
        verify(tmp_path, labels=tmp_path / "labels.csv")
    with pytest.raises(InputError, match="no rule begins"):
        verify(tmp_path, select=["D9"])


def test_rules_can_be_chosen_and_their_thresholds_set(tmp_path: Path) -> None:
    segmentation_folder(tmp_path)
    write_nifti(tmp_path / "imagesTr" / "organ_002.nii.gz", organ(2)[0].astype(np.float32) / 4)
    assert {rule.subject[:4] for rule in examined(tmp_path, select=["D128", "D110"]).healthy} == {"D110", "D128"}
    assert found(tmp_path, "D128") == []
    assert len(found(tmp_path, "D128", thresholds={"D128": {"ratio": 3.0}})) == 1
    assert found(tmp_path, "D128", thresholds={"D128": {"ratio": 3.0}}, ignore=["D128"]) == []


def test_progress_tells_files_and_ends_complete(tmp_path: Path) -> None:
    radiograph_folder(tmp_path, 10)
    recorded: list[Progress] = []
    examined(tmp_path, progress=recorded.append)
    reading = [step for step in recorded if step.stage == "reading"]
    assert reading[-1].done == reading[-1].total == 13
    assert [step.stage for step in recorded][-1] == "auditing"


def test_an_audit_that_fails_is_listed_and_stops_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(ctx: object) -> None:
        raise RuntimeError("disk on fire")

    steps = audit.catalogue()
    monkeypatch.setattr(audit, "catalogue", lambda: (steps[0], ("copies", fails), *steps[1:]))
    segmentation_folder(tmp_path)
    diagnosis = verify(tmp_path, workers=0)
    assert any("disk on fire" in error for error in diagnosis.errors)
    assert diagnosis.extras["census"]["images"] == 6
    assert any(record.subject == "copies" for record in diagnosis.not_examined)


def test_a_reader_that_fails_is_a_fact_about_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(path: str, name: str, names: object) -> None:
        raise RuntimeError("a bug in a codec")

    radiograph_folder(tmp_path, 3)
    segmentation_folder(tmp_path, 2)
    monkeypatch.setitem(inspect.READERS, "image", fails)
    (finding,) = found(tmp_path, "D121")
    assert finding.numbers["unreadable"] == 3
    assert "a bug in a codec" in finding.message


def test_tables_in_the_folder_are_used_and_one_given_by_name_is_not_read_twice(tmp_path: Path) -> None:
    radiograph_folder(tmp_path)
    assert examined(tmp_path).findings == examined(tmp_path, **tables(tmp_path)).findings == ()
    out = tmp_path / "out"
    examined(tmp_path, out=out, **tables(tmp_path))
    with sqlite3.connect(out / "files.sqlite") as store:
        assert store.execute("SELECT COUNT(*) FROM boxes").fetchone() == (6,)


def test_tables_may_name_patients_or_series(tmp_path: Path) -> None:
    for seed in range(4):
        write_series(tmp_path / f"s{seed}", seed)
    (tmp_path / "splits.csv").write_text(
        "patient,split\n" + "".join(f"P{seed},{'val' if seed == 3 else 'train'}\n" for seed in range(4)),
        encoding="utf-8",
    )
    out = tmp_path / "out"
    diagnosis = examined(tmp_path, splits=tmp_path / "splits.csv", out=out)
    assert diagnosis.findings == ()
    with sqlite3.connect(out / "files.sqlite") as store:
        found = dict(store.execute("SELECT split, COUNT(*) FROM items GROUP BY split"))
    assert found == {"train": 18, "val": 6}


def test_case_and_curves_of_ct(tmp_path: Path) -> None:
    for seed in range(3):
        write_series(tmp_path / "data" / f"s{seed}", seed)
    diagnosis = examined(tmp_path / "data", out=tmp_path / "out")
    histogram = next(curve for curve in diagnosis.curves if curve.name.startswith("histogram"))
    (shares,) = histogram.series.values()
    assert sum(shares) == pytest.approx(1.0)
    air = sum(share for x, share in zip(histogram.x, shares, strict=True) if x < -950)
    assert 0.3 < air < 0.7


def test_the_diagnosis_is_json_all_the_way(tmp_path: Path) -> None:
    radiograph_folder(tmp_path)
    document = json.loads(examined(tmp_path).model_dump_json())
    assert document["extras"]["census"]["formats"] == [{"value": "image", "count": 12}]
