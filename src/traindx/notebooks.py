"""Notebooks as files: their code cells, and names for places in them.

A cell has the name ``train.ipynb, cell 3``, and a place in it reads ``train.ipynb, cell 3, line 5``. The number is the
one that Jupyter shows in brackets after *Restart and run all*: code cells that hold anything, counted from 1.
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

SUFFIX = ".ipynb"
_NAME = re.compile(r"^(?P<path>.+\.ipynb), cell (?P<number>\d+)$")


@dataclass(frozen=True)
class Cell:
    """One code cell that holds something.

    Attributes:
        number: Counted from 1.
        source: Its text, as it was typed.
        may_raise: It is marked as one that may raise (tag ``raises-exception``): the run goes on after it.
    """

    number: int
    source: str
    may_raise: bool = False


class NotANotebook(ValueError):  # noqa: N818  (it says what the file is)
    """A file with the suffix of a notebook that is none."""


def cell_name(path: str, number: int) -> str:
    """The name of a cell, which stands wherever a file's name does."""
    return f"{path}, cell {number}"


def split_name(name: str) -> tuple[str, int] | None:
    """Path and number of a cell from its name; None for the name of anything else."""
    found = _NAME.match(name)
    return (found["path"], int(found["number"])) if found else None


def read_cells(path: Path | str) -> list[Cell]:
    """The code cells of a notebook (format 4), empty ones left out.

    Raises:
        NotANotebook: The file is not JSON, has no cells, or is written in another language than Python.
        OSError: It cannot be read.
    """
    fields = _fields(path)
    language = str(fields.get("metadata", {}).get("kernelspec", {}).get("language", "python")).lower()
    if language not in ("python", ""):
        raise NotANotebook(f"{path} is a notebook in {language}, not in Python")
    found = [(text, tags) for kind, text, tags in _sources(fields) if kind == "code" and text.strip()]
    return [Cell(number, text, "raises-exception" in tags) for number, (text, tags) in enumerate(found, start=1)]


def source_of(name: str, root: Path | None = None) -> str | None:
    """The text of a cell by its name; None where there is no such cell."""
    parts = split_name(name)
    if parts is None:
        return None
    try:
        cells = read_cells((root or Path()) / parts[0])
    except (OSError, ValueError):
        return None
    return next((cell.source for cell in cells if cell.number == parts[1]), None)


def with_source(data: bytes, number: int, text: str) -> bytes | None:
    """A notebook's bytes with the text of one cell exchanged, and everything else as it was, byte by byte.

    None where that cannot be promised: the file is not written as Jupyter writes it.
    """
    written = data.decode("utf-8")
    fields = json.loads(written)
    for style in ({"indent": 1}, {"indent": 2}, {"indent": 4}, {}):
        for ascii_only in (False, True):
            for end in ("\n", ""):
                if json.dumps(fields, ensure_ascii=ascii_only, **style) + end == written:  # type: ignore[arg-type]
                    cells = [
                        cell
                        for cell in fields["cells"]
                        if cell.get("cell_type") == "code" and _joined(cell.get("source", "")).strip()
                    ]
                    cell = cells[number - 1]
                    as_list = isinstance(cell["source"], list)
                    cell["source"] = text.splitlines(keepends=True) if as_list else text
                    return (json.dumps(fields, ensure_ascii=ascii_only, **style) + end).encode()  # type: ignore[arg-type]
    return None


def _fields(path: Path | str) -> dict[str, Any]:
    try:
        fields = json.loads(Path(path).read_text(encoding="utf-8-sig"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise NotANotebook(f"{path} is not a notebook: {error}") from error
    if not isinstance(fields, dict) or not isinstance(fields.get("cells", fields.get("worksheets")), list):
        raise NotANotebook(f"{path} is not a notebook: it has no cells")
    return fields


def _sources(fields: dict[str, Any]) -> list[tuple[str, str, tuple[str, ...]]]:
    """Kind, text and tags of every cell; format 3 keeps them in sheets, under another name."""
    cells = fields.get("cells")
    if cells is None:
        cells = [cell for sheet in fields["worksheets"] for cell in sheet.get("cells", [])]
    return [
        (
            str(cell.get("cell_type")),
            _joined(cell.get("source", cell.get("input", ""))),
            tuple(cell.get("metadata", {}).get("tags", ())),
        )
        for cell in cells
    ]


def _joined(source: Any) -> str:
    return "".join(source) if isinstance(source, list) else str(source)
