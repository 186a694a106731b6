"""Whole programs, in processes of their own: exit codes, signals, forks, streams and what else belongs to a process."""

from __future__ import annotations

import ast
import json
import os
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from .conftest import HERE, Ran, contents, trouble_in
from .known import BREAKS
from .test_idioms import difference

PROGRAMS = HERE / "programs"
SLOW = {"compiled_in_earnest", "ranks", "hogwild"}
INPUT = "41\nsecond line\nthe rest\n"
WINDOW: dict[str, Any] = {"every": 0, "steps": 4, "seconds": 0.0, "stop": False}


def programs() -> list[Path]:
    return sorted(path for path in PROGRAMS.glob("*.py") if path.stem != "loop")


def title_of(path: Path) -> str:
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def environment(folder: Path) -> dict[str, str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST", "TRAINDX"))}
    return {**kept, "OMP_NUM_THREADS": "1", "PYTHONHASHSEED": "0", "HERE": str(folder), "COLUMNS": "80"}


def ran(code: int, out: bytes, error: bytes, folder: Path, trouble: tuple[str, ...] = ()) -> Ran:
    """What a run shows, without its folder, process numbers and addresses."""

    def text(data: bytes) -> str:
        plain = data.decode("utf-8", "backslashreplace").replace(str(folder), "FOLDER")
        return re.sub(r"0x[0-9a-f]{6,}", "ADDRESS", plain)

    return Ran(code, text(out), text(error), contents(folder), trouble)


def unwatched(target: list[str], place: Path) -> Ran:
    folder = place / "plain"
    folder.mkdir()
    done = subprocess.run(
        [sys.executable, *target, "--width", "3"],
        input=INPUT.encode(),
        capture_output=True,
        check=False,
        cwd=folder,
        env=environment(folder),
        timeout=300,
    )
    return ran(done.returncode, done.stdout, done.stderr, folder)


def watched(target: list[str], place: Path, **changes: Any) -> Ran:
    folder, out = place / "watched", place / "out"
    folder.mkdir()
    out.mkdir()
    fields = {"target": target[-1], "is_module": "-m" in target, "arguments": ["--width", "3"], "out": str(out)}
    done = subprocess.run(
        [sys.executable, str(HERE / "run_watched.py"), str(place), json.dumps({**fields, **WINDOW, **changes})],
        input=INPUT.encode(),
        capture_output=True,
        check=False,
        cwd=folder,
        env=environment(folder),
        timeout=300,
    )
    assert (place / "run.json").exists(), done.stderr.decode()
    run = json.loads((place / "run.json").read_text())
    return ran(run["exit_code"], done.stdout, done.stderr, folder, trouble_in(out))


def case(path: Path) -> Any:
    marks: list[Any] = [pytest.mark.slow] if path.stem in SLOW else []
    if reason := BREAKS.get((path.stem, "program")):
        marks.append(pytest.mark.xfail(strict=True, reason=reason))
    return pytest.param([str(path)], id=path.stem, marks=marks)


@pytest.mark.parametrize("target", [case(path) for path in programs()])
def test_watching_changes_nothing_of_a_program(target: list[str], tmp_path: Path) -> None:
    plain, seen = unwatched(target, tmp_path), watched(target, tmp_path)
    assert plain.stdout, f"the program itself fails:\n{plain.stderr}"
    if seen != plain or seen.trouble:
        pytest.fail(difference(plain, seen), pytrace=False)


def test_watching_changes_nothing_of_a_package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", str(PROGRAMS))
    target = ["-m", "packaged"]
    plain, seen = unwatched(target, tmp_path), watched(target, tmp_path)
    assert "packaged.work" in plain.stdout, plain.stderr
    if seen != plain or seen.trouble:
        pytest.fail(difference(plain, seen), pytrace=False)


def test_every_program_has_a_title_of_its_own() -> None:
    titles = [title_of(path) for path in programs()]
    assert all(titles)
    assert len(set(titles)) == len(titles)
