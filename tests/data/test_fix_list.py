"""The list of what to mend: every offender, in the JSON and in the CSV."""

from __future__ import annotations

import csv
import json
from pathlib import Path

from patients.folders import examined, radiograph, write_csv, write_png
from traindx.data.fix_list import split, write
from traindx.finding import Offender


def test_every_bad_box_is_in_the_json_and_in_the_list(tmp_path: Path) -> None:
    rows = []
    for number in range(20):
        write_png(tmp_path / "images" / f"i{number:02}.png", radiograph(number, 64))
        rows.append({"image": f"i{number:02}", "x0": 5, "y0": 5, "x1": 90 if number in (3, 7, 12) else 30, "y1": 40})
    rows[15] |= {"x0": 30, "x1": 5}
    write_csv(tmp_path / "boxes.csv", rows)
    diagnosis = examined(tmp_path)
    (finding,) = diagnosis.findings
    bad = {f"boxes.csv:{number + 2}" for number in (3, 7, 12, 15)}
    assert {one.name for one in finding.offenders} == bad
    stored = json.loads(diagnosis.model_dump_json())
    assert {one["name"] for one in stored["findings"][0]["offenders"]} == bad
    path = tmp_path / "out" / "mend.csv"
    assert write(diagnosis, path) == 4
    with path.open(newline="", encoding="utf-8") as stream:
        listed = list(csv.DictReader(stream))
    assert {(row["code"], row["file"], row["line"]) for row in listed} == {
        ("D106", "boxes.csv", str(number + 2)) for number in (3, 7, 12, 15)
    }
    assert all(row["what"] and row["remedy"] for row in listed)


def test_more_than_a_dozen(tmp_path: Path) -> None:
    for number in range(30):
        (tmp_path / f"broken_{number:02}.png").write_bytes(b"\x89PNG\r\n\x1a\n then nothing")
    diagnosis = examined(tmp_path)
    (finding,) = (one for one in diagnosis.findings if one.code == "D121")
    assert len(finding.offenders) == 30


def test_places() -> None:
    assert split(Offender(name="a/b.png")) == ("a/b.png", "", "")
    assert split(Offender(name="t.csv:12")) == ("t.csv", "", "12")
    assert split(Offender(name="x.npz#image[3] case_7")) == ("x.npz", "image[3] case_7", "")
    assert split(Offender(name="odd:name.png")) == ("odd:name.png", "", "")


def test_a_name_is_no_formula(tmp_path: Path) -> None:
    write_png(tmp_path / "=cmd.png", radiograph(0))
    (tmp_path / "=cmd.png").write_bytes(b"\x89PNG\r\n\x1a\n")
    write(examined(tmp_path), tmp_path / "mend.csv")
    assert ",'=cmd.png," in (tmp_path / "mend.csv").read_text(encoding="utf-8")
