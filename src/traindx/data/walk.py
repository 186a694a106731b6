"""Every file below the data folder, in no particular order, without holding their names in memory."""

from __future__ import annotations

import os
from collections.abc import Iterator

from traindx.errors import UsageError

_CHUNK_FILES = 64
_CHUNK_BYTES = 24 << 20


def walk(root: str) -> Iterator[tuple[str, int]]:
    """Paths relative to ``root`` with ``/``, and sizes in bytes; a single file is called ``.``.

    Hidden files and folders are left out, and links to folders are not followed.

    Raises:
        UsageError: There is nothing at ``root``.
    """
    if os.path.isfile(root):
        yield ".", os.path.getsize(root)
        return
    if not os.path.isdir(root):
        raise UsageError(f"{root} does not exist", expected="a folder with images, or one file")
    pending = [""]
    while pending:
        prefix = pending.pop()
        with os.scandir(os.path.join(root, prefix)) as entries:
            for entry in entries:
                if entry.name.startswith("."):
                    continue
                if entry.is_dir(follow_symlinks=False):
                    pending.append(prefix + entry.name + "/")
                elif entry.is_file():
                    yield prefix + entry.name, entry.stat().st_size
                elif entry.is_symlink() and not os.path.exists(entry.path):
                    yield prefix + entry.name, 0  # a link to nothing is a file that is missing


def total(root: str) -> tuple[int, int]:
    """Number of files and bytes: a first pass, so that progress can tell the time left."""
    files = size = 0
    for _, length in walk(root):
        files += 1
        size += length
    return files, size


def chunks(root: str) -> Iterator[list[str]]:
    """Files in portions that take a worker a moment: at most 64 files or 24 MB."""
    portion: list[str] = []
    weight = 0
    for name, size in walk(root):
        portion.append(name)
        weight += size
        if len(portion) >= _CHUNK_FILES or weight >= _CHUNK_BYTES:
            yield portion
            portion, weight = [], 0
    if portion:
        yield portion
