"""A patch: the file before and after, and what the reader must know of it."""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Patch:
    """A change of one file.

    Attributes:
        path: The file.
        before: Its bytes as they were read.
        after: Its bytes with the change.
        title: What is changed, in a few words.
        note: What the reader should look at before applying it.
        cell: Of a notebook: the cell's name, and its text before and after; it is what the diff shows.
    """

    path: Path
    before: bytes
    after: bytes
    title: str
    note: str = ""
    cell: tuple[str, str, str] | None = None

    @property
    def diff(self) -> str:
        """The change as a unified diff; of a file one that ``git apply`` and ``patch -p1`` read."""
        if self.cell is not None:
            name, *texts = self.cell
        else:
            name, texts = self.path.as_posix(), [data.decode("utf-8", "replace") for data in (self.before, self.after)]
        name = name.lstrip("/")
        old, new = (text.splitlines(keepends=True) for text in texts)
        lines = list(difflib.unified_diff(old, new, f"a/{name}", f"b/{name}"))
        return "".join(line if line.endswith("\n") else f"{line}\n\\ No newline at end of file\n" for line in lines)
