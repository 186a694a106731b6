"""Folders of runs: one each, old ones kept, listed and cleaned."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from traindx.cli import run_folders
from traindx.cli.app import run
from traindx.errors import UsageError


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run_folders, "_held", {})
    return tmp_path


def finished(label: str, text: str = "{}") -> Path:
    """A run from its beginning to its end."""
    out = run_folders.own_directory(label)
    with run_folders.claimed(out):
        (out / "diagnosis.json").write_text(text)
    return out


OTHER = (
    "import sys, time; from pathlib import Path; from traindx.cli import run_folders as r\n"
    "out = r.own_directory('train')\n"
    "with r.claimed(out):\n    print(out, flush=True); sys.stdin.readline()\n"
)


def test_an_older_run_is_kept() -> None:
    assert finished("train", '{"outcome": "first"}') == Path("traindx-out/train")
    assert finished("train", '{"outcome": "second"}') == Path("traindx-out/train")
    (older,) = Path("traindx-out/older").iterdir()
    assert "first" in (older / "diagnosis.json").read_text()
    assert "second" in Path("traindx-out/train/diagnosis.json").read_text()
    assert os.readlink("traindx-out/latest") == "train"
    assert not Path("traindx-out/train/.lock").exists()


def test_two_at_once_have_folders_of_their_own() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", OTHER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline().strip() == "traindx-out/train"
        assert run_folders.in_use(Path("traindx-out/train"))
        assert finished("train") == Path("traindx-out/train-2")
        with pytest.raises(UsageError, match="another traindx"), run_folders.claimed(Path("traindx-out/train")):
            pass
        assert run(["runs", "--clean", "--keep", "0"]) == 0
        assert Path("traindx-out/train").exists()
        other.kill()
    assert finished("train") == Path("traindx-out/train")  # the lock went with its owner


def test_runs_are_listed_and_cleaned(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["runs"]) == 0
    assert "no runs" in capsys.readouterr().out
    for label in ("one", "two", "three"):
        os.utime(finished(label, '{"outcome": "fault found"}') / "diagnosis.json", (1e9 + len(label), 1e9 + len(label)))
    owing = Path("traindx-out/one/arms/0-control")
    owing.mkdir(parents=True)
    (owing / "files.jsonl").write_text("{}")
    assert run(["runs"]) == 0
    said = capsys.readouterr().out
    assert said.count("fault found") == 3
    assert said.splitlines()[0].endswith("three")
    assert run(["runs", "--clean"]) == 0
    said = capsys.readouterr().out
    assert "removed: traindx-out/two" in said
    assert "left: traindx-out/one" in said
    assert Path("traindx-out/three/diagnosis.json").exists()
    assert os.readlink("traindx-out/latest") == "three"


def test_restore_says_that_there_is_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["restore"]) == 0
    assert "nothing to put back" in capsys.readouterr().out
