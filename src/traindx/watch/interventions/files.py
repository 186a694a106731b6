"""What a script overwrites, creates, renames or removes during a run of ours, so that it can be put back afterwards.

A paired run must not leave a treated checkpoint where the user's own was, and the second arm must not resume from what
the first one saved; a short look at a script must not leave its first epoch where three days of training were. Before
a file is opened for writing, renamed or removed it is copied aside; the log says what to do, and is followed by the
parent when the run has ended, or by the next call if that was killed (:mod:`traindx.host.restore`).
"""

from __future__ import annotations

import json
import os
import shutil
import stat
import sys
import threading
from pathlib import Path
from typing import Any

from traindx.watch.interventions.in_hand import ARM, JOURNAL, PROTECT, alone, noted_by_another
from traindx.watch.runtime import native_writers

__all__ = ["ARM", "BACKUPS", "JOURNAL", "PROTECT", "ResumeLog"]

BACKUPS = "files"
MOST_BYTES = 4 << 30  # copied aside in one arm
RESERVE = 256 << 20  # bytes that are left free on the disk
_CLONE = 0x40049409  # linux/fs.h, FICLONE: a copy that shares its blocks, where the file system knows that
_NEVER = ("/dev/", "/proc/", "/sys/")
_WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND


class ResumeLog:
    """Writes down, in the script's process, what is about to change on disk.

    Args:
        directory: Of the run; what lies in it is ours.
        mode: :data:`ARM` or :data:`PROTECT`.
        pending: Folder in which the runs of this place are registered, to hear of others that go on at the same time;
            None or "" if this is the only one.
    """

    def __init__(self, directory: Path, mode: str = ARM, pending: str | Path | None = None) -> None:
        self.directory = str(directory.resolve())
        self.mode = mode
        self.pending = Path(pending) if pending else None
        self._seen: set[str] = set()
        self._bytes = 0
        self._busy = threading.local()  # this thread's own opens while it copies are nobody's changes
        self._one = threading.Lock()  # a second thread that opens the file waits until it is copied aside
        self._pid = os.getpid()

    def install(self, *, join: bool = False) -> None:
        """Listen to the interpreter's audit events (forked workers do so too).

        Args:
            join: Another process of this run began the log: write into it.
        """
        if not join:
            shutil.rmtree(os.path.join(self.directory, BACKUPS), ignore_errors=True)
        os.makedirs(os.path.join(self.directory, BACKUPS), exist_ok=True)
        begin = 0 if join else os.O_TRUNC
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | begin
        self._log = os.open(os.path.join(self.directory, JOURNAL), flags, 0o600)
        if not join:
            os.write(self._log, (json.dumps({"mode": self.mode}) + "\n").encode())
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._forked)
        sys.addaudithook(self._audit)

    def _forked(self) -> None:
        self._one = threading.Lock()  # the thread that held it is not in this process

    def with_safetensors(self, module: Any) -> None:
        """See :mod:`traindx.watch.runtime.native_writers`."""
        native_writers.of_safetensors(module, self._changes)

    def with_h5py(self, module: Any) -> None:
        """See :mod:`traindx.watch.runtime.native_writers`."""
        native_writers.of_h5py(module, self._changes)

    def with_torch(self, torch: Any) -> None:
        """See :mod:`traindx.watch.runtime.native_writers`."""
        native_writers.of_torch(torch, self._changes)

    def _audit(self, event: str, args: tuple[Any, ...]) -> None:
        if getattr(self._busy, "now", False):
            return
        if event == "open":
            path, mode, flags = args
            writing = any(letter in mode for letter in "wax+") if isinstance(mode, str) else bool(flags & _WRITING)
            if writing:
                self._changes(path)
        elif event == "os.rename":
            if os.path.isdir(args[0]) and not os.path.islink(args[0]):
                self._moves(args[0], args[1])
                return
            self._changes(args[0])
            self._changes(args[1], leaves=True)
        elif event == "os.truncate":
            self._changes(args[0])
        elif event == "os.remove" and args[1] == -1:
            self._changes(args[0], leaves=True)
        elif event == "shutil.rmtree":  # which then works relative to open folders
            for folder, _, names in os.walk(args[0]):
                for name in names:
                    self._changes(os.path.join(folder, name), leaves=True)
        elif event == "os.mkdir":
            self._changes(args[0], folder=True)
        elif event in ("os.symlink", "os.link"):
            self._changes(args[1])

    def _changes(self, given: Any, *, folder: bool = False, leaves: bool = False) -> None:
        if getattr(self._busy, "now", False) or isinstance(given, int):
            return
        self._busy.now = True
        try:
            path = os.path.abspath(os.fsdecode(given))
            if not leaves and os.path.islink(path):
                path = os.path.realpath(path)  # what it points to is what changes
            if path in self._seen or path.startswith(_NEVER) or path.startswith(self.directory + os.sep):
                return
            if path.endswith(".pyc") or f"{os.sep}__pycache__" in path:
                return
            with self._one:
                if path not in self._seen:
                    with alone(self.pending):
                        self._note(path, folder=folder, leaves=leaves)
                    self._seen.add(path)
        except (OSError, TypeError, ValueError):
            return
        finally:
            self._busy.now = False

    def _moves(self, old: Any, new: Any) -> None:
        """A whole folder gets another name; it gets its own again before what is in it is looked at."""
        self._busy.now = True
        try:
            paths = [os.path.abspath(os.fsdecode(given)) for given in (old, new)]
            with self._one:
                if paths[0] not in self._seen and not os.path.exists(paths[1]):
                    self._seen.update(paths)
                    entry = {"path": paths[0], "was": "folder of another name", "to": paths[1]}
                    os.write(self._log, (json.dumps(entry) + "\n").encode())
        except (OSError, TypeError, ValueError):
            return
        finally:
            self._busy.now = False

    def _note(self, path: str, *, folder: bool, leaves: bool) -> None:
        entry: dict[str, Any] = {"path": path}
        theirs = noted_by_another(path, self.pending, self.directory)
        if folder and os.path.exists(path) and theirs is None:
            return
        if theirs is not None and theirs["was"] != "file":
            entry = theirs
        elif folder:
            entry["was"] = "no folder"
        elif not os.path.lexists(path) and theirs is None:
            entry["was"] = "absent"
        elif os.path.islink(path) and theirs is None:
            entry.update(was="link", target=os.readlink(path))
        else:
            before = theirs["copy"] if theirs else path
            facts = os.lstat(before)
            if not stat.S_ISREG(facts.st_mode):
                return
            copy = os.path.join(self.directory, BACKUPS, f"{self._pid}-{os.getpid()}-{len(self._seen)}")
            if leaves and not theirs and facts.st_nlink == 1:
                kept = self._linked(path, copy)
            else:  # no second name for the copy of another run, which may become the file itself again
                kept = self._copied(before, copy, facts.st_size)
            entry.update({"was": "file", "copy": copy} if kept else {"was": "too large"})
        os.write(self._log, (json.dumps(entry) + "\n").encode())

    def _linked(self, path: str, copy: str) -> bool:
        """A second name for a file that loses its own: whole, and for nothing."""
        try:
            os.link(path, copy)
        except OSError:
            return self._copied(path, copy, os.path.getsize(path))
        return True

    def _copied(self, path: str, copy: str, size: int) -> bool:
        """A copy, which shares its blocks where the file system can; False where there is no room."""
        try:
            if self._cloned(path, copy):
                return True
            self._bytes += size
            if self._bytes > MOST_BYTES or shutil.disk_usage(self.directory).free < size + RESERVE:
                return False
            shutil.copy2(path, copy)
        except OSError:
            return False
        return True

    @staticmethod
    def _cloned(path: str, copy: str) -> bool:
        if sys.platform != "linux":
            return False
        import fcntl

        source = os.open(path, os.O_RDONLY)
        try:
            target = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
            try:
                fcntl.ioctl(target, _CLONE, source)
            except OSError:
                return False
            finally:
                os.close(target)
            shutil.copystat(path, copy)
        finally:
            os.close(source)
        return True
