"""What a killed run leaves says nothing by itself, and everything to the next run of the same user."""

from __future__ import annotations

import math
import os
import stat
from pathlib import Path

import pytest

from patients.folders import found, write_series
from traindx.data import store as store_module
from traindx.data import verify, walk
from traindx.data.sealed import Journal
from traindx.data.store import PARTIAL, STORE
from traindx.progress import Progress

RECORDS = [{"a": [1, 2.5, None], "b": b"\x00\xff" * 600}, {"path": "caf\udce9/Mustermann.dcm"}, ["", "x" * 5000]]


class Ended(BaseException):
    """Stands in for a signal."""


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    return tmp_path / "cache"


def keys(cache: Path) -> list[Path]:
    return [path for path in cache.rglob("*") if path.is_file()]


def written(path: Path) -> Journal:
    journal = Journal(path, "same")
    for record in RECORDS:
        journal.append(record)
    journal.close()
    return journal


def test_records_come_back_and_the_file_hides_them(tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "left"
    assert not written(path).resumed
    assert b"Mustermann" not in path.read_bytes()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    (key,) = keys(cache)
    assert stat.S_IMODE(key.stat().st_mode) == 0o600
    again = Journal(path, "same")
    assert again.resumed
    assert list(again.records()) == RECORDS
    again.append({"more": math.inf})
    again.close()
    last = Journal(path, "same")
    assert list(last.records()) == [*RECORDS, {"more": math.inf}]
    last.remove()
    assert not path.exists()
    assert keys(cache) == []


@pytest.mark.parametrize("change", ["signature", "key gone", "another key", "other content", "empty", "link"])
def test_anything_else_begins_anew(change: str, tmp_path: Path, cache: Path) -> None:
    path = tmp_path / "left"
    written(path)
    (key,) = keys(cache)
    if change == "key gone":
        key.unlink()
    elif change == "another key":
        key.write_bytes(bytes(64))
    elif change == "other content":
        path.write_bytes(b"SQLite format 3\0" + bytes(400))
    elif change == "empty":
        path.write_bytes(b"")
    elif change == "link":
        path.rename(tmp_path / "elsewhere")
        path.symlink_to(tmp_path / "elsewhere")
    journal = Journal(path, "other" if change == "signature" else "same")
    assert not journal.resumed
    assert list(journal.records()) == []
    journal.append(1)
    journal.close()
    assert list(Journal(path, "other" if change == "signature" else "same").records()) == [1]


@pytest.mark.parametrize("damage", ["cut", "changed"])
def test_a_record_that_is_not_whole_ends_it(damage: str, tmp_path: Path) -> None:
    path = tmp_path / "left"
    written(path)
    data = path.read_bytes()
    path.write_bytes(data[:-7] if damage == "cut" else data[:-7] + b"\0" + data[-6:])
    journal = Journal(path, "same")
    assert list(journal.records()) == RECORDS[:2]
    journal.append("goes on here")
    journal.close()
    assert list(Journal(path, "same").records()) == [*RECORDS[:2], "goes on here"]


def test_two_records_of_the_same_content_look_different(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "left", "same")
    start = (tmp_path / "left").stat().st_size
    for _ in range(2):
        journal.append("x" * 64)
    journal.close()
    rest = (tmp_path / "left").read_bytes()[start:]
    assert rest[: len(rest) // 2] != rest[len(rest) // 2 :]


def test_without_a_place_for_the_key_nothing_is_left(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "file"))
    journal = Journal(tmp_path / "left", "same")
    journal.append("Mustermann")
    journal.close()
    assert not (tmp_path / "left").exists()


def test_a_killed_verification_leaves_no_identifier_and_is_gone_on_from(
    tmp_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(walk, "_CHUNK_FILES", 2)
    monkeypatch.setattr(store_module, "_EVERY", 0.0)
    root, out = tmp_path / "data", tmp_path / "out"
    header = {"PatientName": "Mustermann^Erika", "PatientID": "MRN8834127", "AccessionNumber": "ACC55501234"}
    write_series(root / "Mustermann_Erika", 1, **header)

    def killed(step: Progress) -> None:
        if step.stage == "auditing" and step.done >= 3:  # everything is read, nothing is masked yet
            raise Ended

    with pytest.raises(Ended):
        verify(root, out=out, workers=0, progress=killed)
    assert (out / (STORE + PARTIAL)).exists()
    assert len(keys(cache)) == 1
    names = " ".join(path.name for path in out.rglob("*"))
    left = names.encode() + b"".join(path.read_bytes() for path in out.rglob("*") if path.is_file())
    assert [word for word in (b"Mustermann", b"Erika", b"8834127", b"55501234") if word.lower() in left.lower()] == []
    diagnosis = verify(root, out=out, workers=0)
    assert diagnosis.extras["census"]["images"] == 6
    assert not [path for path in out.iterdir() if path.name.startswith(STORE) and path.name != STORE]
    assert keys(cache) == []
    assert b"Mustermann" not in (out / STORE).read_bytes()


def test_a_folder_whose_name_is_no_text(tmp_path: Path) -> None:
    write_series(tmp_path / "data", 1)
    out = Path(os.fsdecode(os.fsencode(tmp_path) + b"/caf\xe9"))
    verify(tmp_path / "data", out=out, workers=0)
    assert (out / STORE).read_bytes().startswith(b"SQLite format 3")
    assert found(tmp_path / "data", "D109") == []
