"""Several runs of ours at once in one folder: whose is the state of a file that one of them has changed already.

A run that begins while another one is appending to ``log.csv`` must not take what it finds for the user's file. What
the user had is what the first of the runs copied aside; every later one gets the same, and whichever ends last puts it
back. Both halves, copying aside and putting back, are therefore done under one lock a folder.
"""

from __future__ import annotations

import contextlib
import json
import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

JOURNAL = "files.jsonl"
ARM, PROTECT = "arm", "protect"  # modes: new files go as well afterwards, or stay
MOST_WAIT = 30.0  # seconds for another run that has the lock: one that was stopped in it must not stop the others


@contextlib.contextmanager
def alone(pending: Path | None) -> Iterator[None]:
    """Hold the lock of the folder that runs are registered in. Not to be nested.

    Args:
        pending: That folder; its parent carries the lock. Nothing is locked where it is None or cannot be.
    """
    handle = -1
    if pending is not None and fcntl is not None:
        with contextlib.suppress(OSError):
            handle = os.open(pending.parent, os.O_RDONLY)
            end = time.monotonic() + MOST_WAIT
            while True:
                try:
                    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    break
                except BlockingIOError:
                    if time.monotonic() > end:
                        break
                    time.sleep(0.005)
    try:
        yield
    finally:
        if handle >= 0:
            os.close(handle)


def read_journal(log: Path) -> tuple[list[dict[str, Any]], bool]:
    """The first note on every path, in order, and whether new files go as well."""
    found: dict[str, dict[str, Any]] = {}
    arm = True
    for line in log.read_text(encoding="utf-8", errors="surrogateescape").splitlines():
        try:
            entry = json.loads(line)
        except json.JSONDecodeError:
            continue  # cut short by a kill: the change it announces was not made yet
        if "mode" in entry:
            arm = entry["mode"] == ARM
        else:
            found.setdefault(entry["path"], entry)
    return list(found.values()), arm


def noted_by_another(path: str, pending: Path | None, own: str) -> dict[str, Any] | None:
    """What another run that is not put back yet wrote down about a path; to be asked under the lock.

    Args:
        path: Absolute.
        pending: Folder in which runs are registered.
        own: Folder of the run that asks.

    Returns:
        Its note; None where no other run has the file in hand, or has only made one that stays.
    """
    for note in sorted(pending.glob("*.json")) if pending is not None else ():
        with contextlib.suppress(OSError, ValueError, KeyError):
            directory = json.loads(note.read_text(encoding="utf-8"))["directory"]
            if directory == own:
                continue
            entries, arm = read_journal(Path(directory) / JOURNAL)
            for entry in entries:
                if entry["path"] == path and (arm or entry["was"] not in ("absent", "no folder")):
                    return entry
    return None
