"""Every file below the data folder, in no particular order, without holding their names in memory.

What cannot be looked into is handed to a listener and passed over: one folder without permission must not end the
verification of all others.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator

from traindx.errors import UsageError

_CHUNK_FILES = 64
_CHUNK_BYTES = 24 << 20

Trouble = Callable[[str, str, str], None]
"""``(path, status, reason)``: a folder or special file that is passed over, and what becomes of it in the report."""


def _silent(path: str, status: str, reason: str) -> None:
    """Pass over without a word: the other pass over the same folder says it."""


def walk(root: str, trouble: Trouble = _silent) -> Iterator[tuple[str, int]]:
    """Paths relative to ``root`` with ``/``, and sizes in bytes; a single file is called ``.``.

    Hidden files and folders are left out. Links to folders are followed, each folder once: a link into the data folder
    itself, or to a folder that was seen already, leads nowhere new.

    Raises:
        UsageError: There is nothing at ``root``.
    """
    if os.path.isfile(root):
        yield ".", os.path.getsize(root)
        return
    if not os.path.isdir(root):
        raise UsageError(f"{root} does not exist", expected="a folder with images, or one file")
    top = os.path.realpath(root)
    pending = [""]
    links: list[str] = []
    seen: set[tuple[int, int]] = set()  # folders outside that links lead to; those inside are met without links
    outside = False
    while pending or links:
        if not pending:  # links come last, so that a file keeps the name that it has without them
            link, outside = links.pop(), True
            target = os.path.realpath(os.path.join(root, link))
            if target == top or target.startswith(top + os.sep) or top.startswith(target + os.sep):
                continue
            pending.append(link)
        prefix = pending.pop()
        folder = os.path.join(root, prefix)
        try:
            if outside:
                known = os.stat(folder)
                if (known.st_dev, known.st_ino) in seen:
                    continue
                seen.add((known.st_dev, known.st_ino))
            with os.scandir(folder) as entries:
                for entry in entries:
                    if not entry.name.startswith("."):
                        yield from _entry(entry, prefix, pending, links, trouble)
        except OSError as error:
            reason = f"the folder cannot be read: {error.strerror or type(error).__name__}"
            trouble(prefix or "./", "unreadable", reason)


def _entry(
    entry: os.DirEntry[str], prefix: str, pending: list[str], links: list[str], trouble: Trouble
) -> Iterator[tuple[str, int]]:
    name = prefix + entry.name
    try:
        if entry.is_dir(follow_symlinks=False):
            pending.append(name + "/")
            return
        if entry.is_dir():
            links.append(name + "/")
            return
        status = entry.stat()
    except FileNotFoundError:
        yield name, 0  # a link to nothing is a file that is missing
        return
    except OSError as error:  # a link to itself, a folder that vanished
        reason = "a link that goes round in a circle" if entry.is_symlink() else error.strerror or type(error).__name__
        trouble(name, "unreadable", reason)
        return
    if stat.S_ISREG(status.st_mode):
        yield name, status.st_size
    else:
        trouble(name, "not-read", f"a special file ({_special(status.st_mode)}), which is never opened")


def _special(mode: int) -> str:
    return "named pipe" if stat.S_ISFIFO(mode) else "socket" if stat.S_ISSOCK(mode) else "device"


def total(root: str) -> tuple[int, int]:
    """Number of files and bytes: a first pass, so that progress can tell the time left."""
    files = size = 0
    for _, length in walk(root):
        files += 1
        size += length
    return files, size


def chunks(
    root: str, trouble: Trouble = _silent, known: Callable[[str, int], bool] | None = None
) -> Iterator[list[str]]:
    """Files in portions that take a worker a moment: at most 64 files or 24 MB.

    Args:
        root: The data folder.
        trouble: Told of what is passed over.
        known: Says of a path and size that it was looked at already, in a run that was ended.
    """
    portion: list[str] = []
    weight = 0
    for name, size in walk(root, trouble):
        if known is not None and known(name, size):
            continue
        portion.append(name)
        weight += size
        if len(portion) >= _CHUNK_FILES or weight >= _CHUNK_BYTES:
            yield portion
            portion, weight = [], 0
    if portion:
        yield portion
