"""How a table is written: separator, decimal sign, and whether its first line is a header."""

from __future__ import annotations

import csv
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from itertools import islice
from pathlib import Path

from traindx.errors import InputError

_QUOTED = re.compile(r'"[^"]*"')
_COMMA = re.compile(r"^-?\d+,\d+$")
_LOOKED_AT = 40


@dataclass(frozen=True)
class Dialect:
    """What :func:`dialect` found.

    Attributes:
        separator: Between cells.
        names: Column names; ``column 1`` and so on where the file has none, and for blank headers.
        header: True if the first line names the columns.
    """

    separator: str
    names: tuple[str, ...]
    header: bool


def number(text: str) -> float | None:
    """A cell as a number, or None. A single comma is a decimal one: a table that separates by commas has none."""
    try:
        return float(text.replace(",", ".") if _COMMA.match(text) else text)
    except ValueError:
        return None


@lru_cache(maxsize=256)
def _of(path: Path, stamp: float) -> Dialect:
    with open(path, newline="", encoding="utf-8-sig", errors="replace") as stream:
        first = stream.readline()
        stream.seek(0)
        bare = _QUOTED.sub("", first)
        separator = max(",;\t|", key=bare.count)
        rows = [row for row in islice(csv.reader(stream, delimiter=separator), _LOOKED_AT) if row]
    if not rows:
        return Dialect(separator, (), True)
    header = not _is_data(rows)
    width = max(len(row) for row in rows)
    head = rows[0] if header else []
    names: list[str] = []
    for place in range(width):
        name = head[place].strip() if place < len(head) else ""
        name = name or f"column {place + 1}"
        names.append(name if name not in names else f"{name} ({place + 1})")
    return Dialect(separator, tuple(names), header)


def dialect(path: Path) -> Dialect:
    """Look at the first lines of a table.

    Raises:
        InputError: The file cannot be read as a table.
    """
    try:
        return _of(path, path.stat().st_mtime)
    except (OSError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a table: {error}", expected="CSV with a header line") from error


def _is_data(rows: list[list[str]]) -> bool:
    """True where the first line looks like those below it: a path among paths, a number among numbers."""
    if len(rows) < 2:
        # One line alone: a path or a number in it is no header.
        return any(("/" in cell and "." in cell) or number(cell.strip()) is not None for cell in rows[0])
    alike = 0
    for place, cell in enumerate(part.strip() for part in rows[0]):
        below = [row[place].strip() for row in rows[1:] if len(row) > place and row[place].strip()]
        if not below or not cell:
            continue
        kind = _kind(cell)
        same = sum(_kind(other) == kind for other in below)
        typed = kind == "number" or (kind.startswith("name") and any(letter.isdigit() for letter in cell))
        typed = typed or kind == "path" or (below.count(cell) >= 2 and len(set(below)) <= 4)
        if typed and same >= 0.8 * len(below):
            alike += 1
        elif kind != "number" and sum(_kind(other) == "number" for other in below) >= 0.8 * len(below):
            return False  # a word above numbers names them
    return alike > 0


def _kind(cell: str) -> str:
    if number(cell) is not None:
        return "number"
    if "/" in cell:
        return "path" if cell.count("/") >= 2 or "." in cell else "word"
    if any(letter.isdigit() for letter in cell):
        return "name " + re.sub(r"\d+", "9", re.sub(r"[A-Za-z]+", "a", cell))
    return "word"


def read_rows(path: Path) -> Iterator[dict[str, str]]:
    """Rows of a table as dictionaries.

    Raises:
        InputError: The file cannot be read as a table.
    """
    found = dialect(path)
    try:
        with open(path, newline="", encoding="utf-8-sig", errors="replace") as stream:
            rows = csv.reader(stream, delimiter=found.separator)
            if found.header:
                next(rows, None)
            for row in rows:
                if row:
                    yield dict(zip(found.names, row, strict=False))
    except (OSError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a table: {error}", expected="CSV with a header line") from error
