"""`traindx data` as a shell sees it: exit codes, streams, files."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from patients.folders import radiograph, radiograph_folder, segmentation_folder, tables, write_nifti, write_png
from traindx.cli.app import run


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def arguments(folder: Path) -> list[str]:
    return [word for name, path in tables(folder).items() for word in (f"--{name}", str(path))]


def test_healthy_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    radiograph_folder(tmp_path / "data")
    assert run(["data", "data", *arguments(tmp_path / "data"), "--workers", "0", "--strict"]) == 0
    out = tmp_path / "traindx-out" / "data-data"
    assert {"report.html", "diagnosis.json", "files.sqlite", "evidence.jsonl"} <= {path.name for path in out.iterdir()}
    assert "nothing found" in capsys.readouterr().out


def test_unreadable_file_is_named_and_in_the_exit_code(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    radiograph_folder(tmp_path / "data")
    (tmp_path / "data" / "images" / "broken.png").write_bytes(b"\x89PNG\r\n\x1a\n rest is missing")
    assert run(["data", "data", "--workers", "0", "--out", "report"]) == 1
    assert "broken.png" in capsys.readouterr().out
    page = (tmp_path / "report" / "report.html").read_text(encoding="utf-8")
    assert "broken.png" in page
    assert "data:image/png" in page  # the contact sheet


def test_strict_counts_what_is_only_suspected(tmp_path: Path) -> None:
    radiograph_folder(tmp_path / "data", 10)
    write_png(tmp_path / "data" / "images" / "case_03.png", 255 - radiograph(3))
    assert run(["data", "data", "--workers", "0"]) == 0
    assert run(["data", "data", "--workers", "0", "--strict"]) == 1
    assert run(["data", "data", "--workers", "0", "--strict", "--ignore", "D124"]) == 0


def test_json_is_all_there_is_on_stdout(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    segmentation_folder(tmp_path / "data")
    write_nifti(tmp_path / "data" / "labelsTr" / "organ_001.nii.gz", np.full((20, 24, 18), 3, np.uint8))
    code = run(["data", "data", "--label-values", "0,1", "--workers", "0", "--json", "--out", "report"])
    document = json.loads(capsys.readouterr().out)
    assert code == 1
    assert [finding["code"] for finding in document["findings"]] == ["D113", "D123"]
    assert document["findings"][0]["location"]["file"].endswith("organ_001.nii.gz")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["data", "nowhere"], "does not exist"),
        (["data", "data", "--task", "cooking"], "no task 'cooking'"),
        (["data", "data", "--labels", "none.csv"], "none.csv does not exist"),
        (["data", "data", "--label-values", "zero"], "cannot be read"),
        (["data", "data", "--select", "D999"], "D999"),
    ],
)
def test_wrong_usage_is_two(tmp_path: Path, capsys: pytest.CaptureFixture[str], words: list[str], said: str) -> None:
    write_png(tmp_path / "data" / "a.png", radiograph(0))
    assert run(words) == 2
    assert said in capsys.readouterr().err


def test_empty_folder_is_three(tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    assert run(["data", "data", "--out", "report"]) == 3
    assert (tmp_path / "report" / "report.html").exists()
