"""What a script overwrites, creates, renames or removes during an arm, so that all can be put back afterwards.

A paired run must not leave a treated checkpoint where the user's own was, and the second arm must not resume from what
the first one saved. Before a file is opened for writing, renamed or removed it is copied aside; the resume log says
what to do, and is followed backwards by the parent when the arm has ended, however it ended.
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
from pathlib import Path
from typing import Any

JOURNAL = "files.jsonl"
BACKUPS = "files"
MOST_BYTES = 4 << 30  # copied aside in one arm
_NEVER = ("/dev/", "/proc/", "/sys/")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class ResumeLog:
    """Writes down, in the script's process, what is about to change on disk.

    Args:
        directory: Of the arm; what lies in it is ours.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = str(directory.resolve())
        self._seen: set[str] = set()
        self._bytes = 0
        self._busy = False
        self._pid = os.getpid()

    def install(self) -> None:
        """Listen to the interpreter's audit events (forked workers do so too)."""
        shutil.rmtree(os.path.join(self.directory, BACKUPS), ignore_errors=True)
        os.makedirs(os.path.join(self.directory, BACKUPS))
        self._log = os.open(os.path.join(self.directory, JOURNAL), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_APPEND)
        sys.addaudithook(self._audit)

    def with_torch(self, torch: Any) -> None:
        """``torch.save`` opens its file in C++, which no audit event tells of."""
        serialization = torch.serialization
        original = getattr(serialization, "_open_zipfile_writer", None)
        if original is None:
            return

        def open_writer(name_or_buffer: Any) -> Any:
            if isinstance(name_or_buffer, str | os.PathLike):
                self._changes(name_or_buffer)
            return original(name_or_buffer)

        serialization._open_zipfile_writer = open_writer

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if self._busy:
            return
        if event == "open":
            path, mode, flags = args
            writing = any(letter in mode for letter in "wax+") if isinstance(mode, str) else bool(flags & _WRITING)
            if writing:
                self._changes(path)
        elif event == "os.rename":
            self._changes(args[0])
            self._changes(args[1])
        elif event == "os.truncate" or (event == "os.remove" and args[1] == -1):
            self._changes(args[0])
        elif event == "shutil.rmtree":  # which then works relative to open folders
            for folder, _, names in os.walk(args[0]):
                for name in names:
                    self._changes(os.path.join(folder, name))
        elif event == "os.mkdir":
            self._changes(args[0], folder=True)
        elif event in ("os.symlink", "os.link"):
            self._changes(args[1])

    def _changes(self, given: Any, *, folder: bool = False) -> None:
        if self._busy or isinstance(given, int):
            return
        self._busy = True
        try:
            path = os.path.abspath(os.fsdecode(given))
            if path in self._seen or path.startswith(_NEVER) or path.startswith(self.directory + os.sep):
                return
            if path.endswith(".pyc") or f"{os.sep}__pycache__" in path:
                return
            self._seen.add(path)
            self._note(path, folder=folder)
        except (OSError, TypeError, ValueError):
            return
        finally:
            self._busy = False

    def _note(self, path: str, *, folder: bool) -> None:
        entry: dict[str, Any] = {"path": path}
        if folder:
            if os.path.exists(path):
                return
            entry["was"] = "no folder"
        elif not os.path.lexists(path):
            entry["was"] = "absent"
        else:
            facts = os.lstat(path)
            if not stat.S_ISREG(facts.st_mode):
                return
            self._bytes += facts.st_size
            if self._bytes > MOST_BYTES:
                entry["was"] = "too large"
            else:
                copy = os.path.join(self.directory, BACKUPS, f"{self._pid}-{os.getpid()}-{len(self._seen)}")
                shutil.copy2(path, copy)
                entry.update(was="file", copy=copy)
        os.write(self._log, (json.dumps(entry) + "\n").encode())


def restore(directory: Path) -> list[str]:
    """Put back what an arm changed, last change first.

    Returns:
        Paths that could not be put back.
    """
    log = directory / JOURNAL
    if not log.exists():
        return []
    lost: list[str] = []
    entries = [json.loads(line) for line in log.read_text(encoding="utf-8").splitlines() if line.endswith("}")]
    for entry in reversed(entries):
        path = entry["path"]
        try:
            if entry["was"] == "file":
                os.makedirs(os.path.dirname(path), exist_ok=True)
                shutil.copy2(entry["copy"], path)
            elif entry["was"] == "absent":
                if os.path.isfile(path) or os.path.islink(path):
                    os.remove(path)
            elif entry["was"] == "no folder":
                if os.path.isdir(path) and not os.path.islink(path):
                    shutil.rmtree(path)  # all that is in it came after it, seen or not
            else:
                lost.append(path)
        except OSError:
            lost.append(path)
    log.unlink()
    shutil.rmtree(directory / BACKUPS, ignore_errors=True)
    return lost
