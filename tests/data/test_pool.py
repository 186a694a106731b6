"""Worker processes: the same answer for any number of them, and a file that kills one costs only itself."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from patients.folders import examined, radiograph_folder, segmentation_folder, tables, write_series
from traindx.data import pool
from traindx.data.facts import Report
from traindx.errors import TraindxError, UsageError


def test_the_answer_does_not_depend_on_the_number_of_workers(tmp_path: Path) -> None:
    radiograph_folder(tmp_path / "a", 8)
    segmentation_folder(tmp_path / "a" / "b", 4)
    for seed in range(3):
        write_series(tmp_path / "a" / f"s{seed}", seed)
    (tmp_path / "a" / "broken.dcm").write_text("no image")
    options = tables(tmp_path / "a")
    first = examined(tmp_path / "a", workers=0, **options)
    second = examined(tmp_path / "a", workers=2, **options)
    assert second.findings == first.findings
    assert second.healthy == first.healthy
    assert {**second.extras["census"], "seconds": 0} == {**first.extras["census"], "seconds": 0}


def test_a_worker_that_dies_is_replaced(tmp_path: Path) -> None:
    write_series(tmp_path, 0)
    worker = pool._Worker(str(tmp_path))
    try:
        first = worker.ask(["000.dcm"])
        assert first is not None
        assert first[0][0].status == "read"
        assert worker._process is not None
        os.kill(worker._process.pid, signal.SIGKILL)
        worker._process.wait()
        assert worker.ask(["001.dcm"]) is None
        assert worker.last_words == "SIGKILL"
        again = worker.ask(["001.dcm"])
        assert again is not None
        assert again[0][0].status == "read"
    finally:
        worker.close()


def test_the_file_that_kills_is_named_and_the_others_are_read() -> None:
    class Fragile:
        """Stands in for a process that one file kills."""

        last_words = "SIGSEGV"

        def ask(self, portion: list[str]) -> pool.Result | None:
            return None if "killer" in portion else ([Report(name, "read") for name in portion], {"ct": 1})

    reports, histograms = pool._one_by_one(Fragile(), ["a", "killer", "b"])
    assert [(report.path, report.status) for report in reports] == [
        ("a", "read"),
        ("killer", "unreadable"),
        ("b", "read"),
    ]
    assert "SIGSEGV" in reports[1].reason
    assert histograms == {"ct": 2}


def test_a_source_that_fails_is_passed_on(tmp_path: Path) -> None:
    def portions() -> Iterator[list[str]]:
        yield []
        raise UsageError("the folder is gone")

    with pytest.raises(UsageError, match="gone"):
        list(pool.inspect_all(str(tmp_path), portions(), 1))


def test_processes_end_when_the_reader_leaves_early(tmp_path: Path) -> None:
    for seed in range(3):
        write_series(tmp_path / f"s{seed}", seed)
    names = [str(path.relative_to(tmp_path)) for path in sorted(tmp_path.rglob("*.dcm"))]
    results = pool.inspect_all(str(tmp_path), [[name] for name in names], 2)
    assert next(results)[0][0].status == "read"
    results.close()


def test_a_worker_that_cannot_start_says_so(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool.sys, "executable", "/bin/false")
    with pytest.raises(TraindxError, match="cannot be started") as raised:
        list(pool.inspect_all(str(tmp_path), [["a"]], 1))
    assert "--workers 0" in raised.value.do
