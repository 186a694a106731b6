"""Where the script's process writes its evidence: events at once, summaries as growing snapshots.

A script may be killed at any moment. Events are flushed as they come; what is summed up over the run is written again
at growing distances, each time complete, and the parent keeps the last complete snapshot.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Iterable
from pathlib import Path
from typing import IO

from traindx.evidence.base import Record
from traindx.evidence.observed import Observed, SnapshotEnd

NAME = "evidence.jsonl"


class Sink:
    """An append-only evidence log with a cap on its size, silent in forked children.

    Args:
        directory: Evidence directory.
        max_mb: Nothing but snapshots is written beyond this size.
        name: File name of the log.
    """

    def __init__(self, directory: Path, max_mb: float = 32.0, name: str = NAME) -> None:
        directory.mkdir(parents=True, exist_ok=True)
        self.directory = directory
        self._file: IO[str] | None = (directory / name).open("a", encoding="utf-8")
        self._limit = int(max_mb * 1e6)
        self._size = 0
        self._pid = os.getpid()
        self._snapshot = 0
        self._lock = threading.Lock()
        self.full = False

    @property
    def ours(self) -> bool:
        """False in a process forked from the one that opened the log."""
        return self._file is not None and os.getpid() == self._pid

    def event(self, record: Record) -> None:
        """Write one record now."""
        if not self.ours:
            return
        if self._size > self._limit:
            self.full = True
            return
        self._write([record])

    def snapshot(self, records: Iterable[Record]) -> None:
        """Write a complete set of summaries that replaces the previous one."""
        if not self.ours:
            return
        self._snapshot += 1
        stamped: list[Record] = [
            record.model_copy(update={"snapshot": self._snapshot}) if isinstance(record, Observed) else record
            for record in records
        ]
        self._write([*stamped, SnapshotEnd(snapshot=self._snapshot)])

    def _write(self, records: list[Record]) -> None:
        lines = [
            json.dumps({"kind": record.kind, **record.model_dump(mode="json", exclude_defaults=True)}) + "\n"
            for record in records
        ]
        text = "".join(lines)
        with self._lock:
            if self._file is None:
                return
            self._file.write(text)
            self._file.flush()
            self._size += len(text)

    def close(self) -> None:
        """Close the log; further records are dropped."""
        with self._lock:
            if self._file is not None and os.getpid() == self._pid:
                self._file.close()
            self._file = None


def compact(directory: Path, name: str = NAME) -> int:
    """Keep, of all summaries in a log, those of the last complete snapshot. Run by the parent when the script ended.

    Returns:
        Number of records that are left. Lines that cannot be read (cut short by a kill) are dropped.
    """
    path = directory / name
    if not path.exists():
        return 0
    kept: list[tuple[int, str]] = []
    complete = -1
    for line in path.read_text(encoding="utf-8", errors="replace").split("\n"):
        try:
            fields = json.loads(line)
        except json.JSONDecodeError:
            continue
        if not isinstance(fields, dict):
            continue
        if fields.get("kind") == SnapshotEnd.__name__:
            complete = max(complete, int(fields.get("snapshot", -1)))
            continue
        kept.append((int(fields.get("snapshot", -1)), line))
    lines = [line for snapshot, line in kept if snapshot in (-1, complete)]
    temporary = path.with_suffix(".tmp")
    temporary.write_text("".join(line + "\n" for line in lines), encoding="utf-8")
    temporary.replace(path)
    return len(lines)
