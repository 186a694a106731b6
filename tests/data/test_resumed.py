"""A verification that was ended is gone on from, and says the same as one that was not."""

from __future__ import annotations

import os
import sqlite3
from pathlib import Path

import pytest

from patients.folders import radiograph_folder, write_series
from traindx.data import store as store_module
from traindx.data import verification, verify, walk
from traindx.data.options import Options
from traindx.data.sealed import Journal
from traindx.data.store import PARTIAL, STORE
from traindx.progress import Progress


class Ended(BaseException):
    """Stands in for a signal."""


def stopping_after(files: int):
    def listen(step: Progress) -> None:
        if step.stage == "reading" and step.done >= files:
            raise Ended

    return listen


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(walk, "_CHUNK_FILES", 2)
    monkeypatch.setattr(store_module, "_EVERY", 0.0)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    root = tmp_path / "data"
    radiograph_folder(root / "train", 4)
    write_series(root / "p1", 1)
    return root


def left_in(out: Path) -> list[str]:
    """Files that a killed run has written down."""
    journal = Journal(out / (STORE + PARTIAL), signature_of(out))
    assert journal.resumed
    names = [report[0] for record in journal.records() for report in record["reports"]]
    journal.close()
    return names


def signature_of(out: Path) -> str:
    return verification._signature(os.fspath(out.parent / "data"), Options())


def inspected(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    seen: list[str] = []
    real = verification.pool.inspect_file

    def look(root: str, name: str, *rest: object, **more: object) -> object:
        seen.append(name)
        return real(root, name, *rest, **more)

    monkeypatch.setattr(verification.pool, "inspect_file", look)
    return seen


def test_what_was_read_is_not_read_again(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = verify(folder, out=tmp_path / "whole", workers=0)
    out = tmp_path / "out"
    with pytest.raises(Ended):
        verify(folder, out=out, workers=0, progress=stopping_after(5))
    assert (out / (STORE + PARTIAL)).exists()
    assert not (out / STORE).exists()
    known = set(left_in(out))
    assert 5 <= len(known) < whole.extras["census"]["files"]
    seen = inspected(monkeypatch)
    resumed = verify(folder, out=out, workers=0)
    assert not known & set(seen)
    assert (out / STORE).exists()
    assert not [path for path in out.iterdir() if PARTIAL in path.name]
    assert {**resumed.extras["census"], "seconds": 0} == {**whole.extras["census"], "seconds": 0}
    assert [finding.code for finding in resumed.findings] == [finding.code for finding in whole.findings]
    assert [curve.series for curve in resumed.curves] == [curve.series for curve in whole.curves]


def test_workers_go_on_too(folder: Path, tmp_path: Path) -> None:
    out = tmp_path / "out"
    with pytest.raises(Ended):
        verify(folder, out=out, workers=0, progress=stopping_after(5))
    resumed = verify(folder, out=out, workers=2)
    assert not resumed.errors
    assert resumed.extras["census"]["files"] >= 10


def test_a_file_that_changed_is(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    with pytest.raises(Ended):
        verify(folder, out=out, workers=0, progress=stopping_after(5))
    path = next(name for name in left_in(out) if name.endswith((".png", ".dcm")))
    (folder / path).write_bytes((folder / path).read_bytes() + b"\0")
    seen = inspected(monkeypatch)
    verify(folder, out=out, workers=0)
    assert path in seen


def test_other_options_begin_anew(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    out = tmp_path / "out"
    with pytest.raises(Ended):
        verify(folder, out=out, workers=0, progress=stopping_after(5))
    seen = inspected(monkeypatch)
    diagnosis = verify(folder, out=out, workers=0, others="train/{case}.png")
    assert len(seen) >= diagnosis.extras["census"]["files"]


def test_a_full_disk_is_said(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(self: object, reports: object) -> None:
        raise sqlite3.OperationalError("database or disk is full")

    monkeypatch.setattr(store_module.Store, "add", full)
    with pytest.raises(verification.TraindxError, match="disk is full"):
        verify(folder, out=tmp_path / "out", workers=0)
    assert not (tmp_path / "out" / STORE).exists()
    assert not (tmp_path / "out" / "diagnosis.json").exists()
