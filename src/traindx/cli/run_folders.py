"""Folders of runs: one for each, never shared by two that go on at once, and old ones kept.

``traindx-out/<label>`` is always the newest run of its name: an older one is moved to ``traindx-out/older`` when the
next one begins, and while one goes on the next gets ``<label>-2``. ``traindx-out/latest`` points at the run that began
last. A folder is claimed by a lock that the operating system takes away when its owner ends, however it ends.
"""

from __future__ import annotations

import atexit
import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

from traindx.errors import UsageError
from traindx.private import make_private

try:
    import fcntl
except ImportError:  # Windows: runs are not kept apart there
    fcntl = None  # type: ignore[assignment]

HOME = Path("traindx-out")
OLDER = "older"
LATEST = "latest"
LOCK = ".lock"
_REPORTS = ("diagnosis.json", "comparison.json", "evidence.jsonl", "settings.json", "report.html")
_held: dict[Path, int] = {}


def own_directory(label: str, *, unfinished: str = "") -> Path:
    """A folder for a new run, claimed until this process ends or :func:`claimed` gives it back.

    Args:
        label: Its name.
        unfinished: A file that a run which was killed leaves, and that the next one goes on from: a folder that holds
            it is not moved away.
    """
    number = 1
    while True:
        folder = HOME / (label if number == 1 else f"{label}-{number}")
        if _claim(folder):
            break
        number += 1
    left = bool(unfinished) and (folder / unfinished).exists()
    if not left and any((folder / name).exists() for name in _REPORTS) and not owes(folder):
        _move_away(folder)
        _claim(folder)
    return folder


@contextmanager
def claimed(folder: Path) -> Iterator[None]:
    """Hold a run's folder for as long as the run goes on.

    Raises:
        UsageError: Another run that goes on has it.
    """
    if not _claim(folder):
        raise UsageError(
            f"another traindx writes into {folder}", expected="a folder of its own", do="wait for it, or give --out"
        )
    point_at_latest(folder)
    try:
        yield
    finally:
        _release(folder)


def in_use(folder: Path) -> bool:
    """True if a run that goes on has claimed a folder."""
    path = folder / LOCK
    if fcntl is None or not path.exists():
        return False
    if folder.resolve() in _held:
        return True
    with suppress(OSError), path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def owes(folder: Path) -> bool:
    """True if files that a run of this folder changed have not been put back yet."""
    return any(True for _ in folder.rglob("files.jsonl"))


def all_runs() -> list[Path]:
    """All runs below :data:`HOME`, the newest first."""
    places = [place for place in (HOME, HOME / OLDER) if place.is_dir()]
    folders = [entry for place in places for entry in place.iterdir() if entry.is_dir() and not entry.is_symlink()]
    found = [one for one in folders if any((one / name).exists() for name in _REPORTS) or in_use(one)]
    return sorted(found, key=age, reverse=True)


def age(folder: Path) -> float:
    """When a run last wrote one of its files."""
    times = [(folder / name).stat().st_mtime for name in _REPORTS if (folder / name).exists()]
    return max(times, default=folder.stat().st_mtime)


def point_at_latest(folder: Path | None = None) -> None:
    """Let ``latest`` point at a run; without one at the newest that is left."""
    if folder is None:
        left = all_runs()
        folder = left[0] if left else None
    link = HOME / LATEST
    if folder is None or HOME.resolve() not in folder.resolve().parents:
        if folder is None:
            link.unlink(missing_ok=True)
        return
    fresh = HOME / f".{LATEST}-{os.getpid()}"
    with suppress(OSError):
        fresh.symlink_to(os.path.relpath(folder, HOME))
        if link.is_symlink() or not link.exists():
            os.replace(fresh, link)
    fresh.unlink(missing_ok=True)


def _claim(folder: Path) -> bool:
    """Take the lock of a folder, which is made for it; False if another process has it."""
    if fcntl is None or folder.resolve() in _held:
        return True
    try:
        make_private(folder)
        handle = os.open(folder / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError:
        return True  # whoever writes there says what is wrong
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if os.fstat(handle).st_ino != os.stat(folder / LOCK).st_ino:
            raise BlockingIOError  # its owner ended in this moment, and took it along
    except (BlockingIOError, FileNotFoundError):
        os.close(handle)
        return False
    except OSError:  # a file system without locks
        os.close(handle)
        return True
    if not _held:
        atexit.register(_release_all)
    _held[folder.resolve()] = handle
    return True


def _release_all() -> None:
    """At the end of the process; a folder that was claimed for nothing goes too."""
    for folder in list(_held):
        _release(folder)
        with suppress(OSError):
            folder.rmdir()


def _release(folder: Path) -> None:
    handle = _held.pop(folder.resolve(), None)
    if handle is not None:
        (folder / LOCK).unlink(missing_ok=True)
        os.close(handle)


def _move_away(folder: Path) -> None:
    """Keep an older run under the time at which it ended; the lock goes with this process."""
    stamp = datetime.fromtimestamp(age(folder)).strftime("%Y%m%d-%H%M%S")
    target = HOME / OLDER / f"{folder.name}-{stamp}"
    number = 2
    while target.exists():
        target = HOME / OLDER / f"{folder.name}-{stamp}-{number}"
        number += 1
    _release(folder)
    target.parent.mkdir(parents=True, exist_ok=True)
    with suppress(OSError):
        os.rename(folder, target)
