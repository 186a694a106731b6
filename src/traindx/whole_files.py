"""Files that are there as a whole or as they were before: a reader or a crash never meets half of one."""

from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: Path, text: str) -> None:
    """Write a text beside a file, then put it in the file's place. Line ends stay as they are in the text."""
    beside = path.with_name(f".{path.name}.part")
    beside.write_bytes(text.encode("utf-8"))
    os.replace(beside, path)
