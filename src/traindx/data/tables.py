"""The user's tables: which column is what, and their rows into the store.

A table given by name is what the user says it is. A table that merely lies in the data folder is used for what it
plainly holds (boxes, splits, patients, columns of 0 and 1), and its findings are marked as undeclared. Which column
names the images is decided later, by what the folder holds (:mod:`traindx.data.link`).
"""

from __future__ import annotations

import math
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

from traindx.data import headers
from traindx.data.dialect import dialect, number, read_rows
from traindx.data.names import without_suffix
from traindx.errors import InputError

__all__ = [
    "Column",
    "Table",
    "classes",
    "corners",
    "from_rows",
    "join_key",
    "number",
    "read_rows",
    "relative",
    "truth",
    "understand",
]

_MOST_VALUES = 1000
_MOST_CLASSES = 100
_FEW_CLASSES = 20
_MISSING = frozenset(("", "nan", "na", "n/a", "none", "null"))
_SAYS_NOTHING = frozenset(("unknown", "undefined", "not available", "missing", "-", "?", "."))
"""Words of a column that nobody filled; beside others they are a class by mistake."""

_NUMBERS = re.compile(r"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")


@dataclass
class Column:
    """What one column holds.

    Attributes:
        name: Its header.
        values: Distinct values with their number (counted up to 1000).
        rows: Rows with a value.
        empty: Rows without.
        numeric: True if every value is a number.
        coded: True if its numbers are codes of classes.
    """

    name: str
    values: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    empty: int = 0
    numeric: bool = True
    coded: bool = False

    def see(self, value: str | None) -> None:
        """Count one cell."""
        text = (value or "").strip()
        if text.lower() in _MISSING:
            self.empty += 1
            return
        self.rows += 1
        if text in self.values or len(self.values) < _MOST_VALUES:
            self.values[text] += 1
        if self.numeric and number(text) is None:
            self.numeric = False

    @property
    def type(self) -> str:
        """``binary`` (0 and 1, also -1 for uncertain), ``category``, ``number`` or ``text`` (too many values)."""
        if self.numeric and self.values and {number(text) for text in self.values} <= {0.0, 1.0, -1.0}:
            return "binary"
        if {text.lower() for text in self.values} in ({"true", "false"}, {"true"}, {"false"}):
            return "binary"
        if self.numeric and not self.coded:
            return "number"
        return "category" if len(self.values) <= _MOST_CLASSES else "text"


@dataclass
class Table:
    """A table and the meaning of its columns (None where it has no such column).

    Attributes:
        path: The file.
        name: What reports call it.
        declared: ``labels``, ``boxes`` or ``splits`` as the user said; empty for tables found in the folder.
        columns: All columns.
        id: Column of image names.
        split: Column of splits.
        patient: Column of patients.
        reader: Column that tells several readers of one image apart.
        box: The four box columns, or one that holds all four.
        box_form: ``corners``, ``size`` or ``centre``.
        box_class: Column of box classes.
        points: Landmarks: what each is called, its column of x and its column of y.
        runs: Column of run lengths.
        labels: Columns to be learned.
        row_count: Rows.
        form: True for an empty form for predictions, which holds no labels.
        long: True if the id names image and class at once (``ID_1_epidural``).
        joins: Turns a cell of the id column into what the images are called; set when the table is linked.
        source: Rows of sidecar files that are no CSV.
    """

    path: Path
    name: str
    declared: str = ""
    columns: dict[str, Column] = field(default_factory=dict)
    id: str | None = None
    split: str | None = None
    patient: str | None = None
    reader: str | None = None
    box: tuple[str, ...] | None = None
    box_form: str = ""
    box_class: str | None = None
    points: tuple[tuple[str, str, str], ...] = ()
    runs: str | None = None
    labels: tuple[str, ...] = ()
    row_count: int = 0
    form: bool = False
    long: bool = False
    joins: Callable[[str], str] | None = None
    source: Callable[[], Iterator[dict[str, str]]] | None = None

    def rows(self) -> Iterator[dict[str, str]]:
        """The rows, read again."""
        return self.source() if self.source is not None else read_rows(self.path)

    def key(self, row: dict[str, str]) -> str:
        """What a row calls its image, in the terms of the column that the table is joined by."""
        text = (row.get(self.id or "") or "").strip()
        return (self.joins or join_key)(text) if text else ""


def truth(text: str) -> float | None:
    """A cell of a binary column as 1, 0 or (uncertain) -1; None where it is empty."""
    lower = text.strip().lower()
    if lower in _MISSING:
        return None
    return 1.0 if lower == "true" else 0.0 if lower == "false" else number(lower)


def join_key(text: str) -> str:
    """How a table's name for an image is compared with file names: base name without an image suffix."""
    return without_suffix(text.strip().rstrip("/"))


def understand(path: Path, name: str, declared: str = "") -> Table:
    """Read a table once and decide what its columns are.

    Raises:
        InputError: The table is empty, or lacks the columns that its declared kind needs.
    """
    table = Table(path, name, declared)
    _count(table)
    if not table.columns:
        if declared:
            raise InputError(f"{path} has no rows", expected="a header line and at least one row")
        return table
    decide(table)
    _must_have(table)
    return table


def from_rows(path: Path, name: str, source: Callable[[], Iterator[dict[str, str]]]) -> Table:
    """A table whose rows come from sidecar files; without columns where there are no rows."""
    table = Table(path, name, source=source)
    _count(table)
    if table.columns:
        decide(table)
        table.labels = ()
    return table


def _count(table: Table) -> None:
    for row in table.rows():
        if not table.columns:
            known = dialect(table.path).names if table.source is None else tuple(row)
            table.columns = {header: Column(header) for header in known}
        table.row_count += 1
        for header, column in table.columns.items():
            column.see(row.get(header))


def decide(table: Table) -> None:
    """Decide what the columns of a table are, from their headers and values."""
    known = {headers.plain(header): header for header in reversed(table.columns)}
    table.form = "submission" in table.name.lower().rpartition("/")[2]
    table.box, table.box_form = _box(table, known)
    table.split = _first(known, headers.SPLIT_COLUMNS)
    table.patient = _first(known, headers.PATIENT_COLUMNS)
    table.reader = _first(known, headers.READER_COLUMNS)
    table.runs = next((header for name, header in known.items() if name in headers.RUN_COLUMNS), None)
    table.points = () if table.box is not None else tuple(_points(table))
    table.id = _first(known, headers.ID_COLUMNS) or table.patient or _first_text(table)
    if table.box is not None:
        rest = [known[name] for name in headers.CLASS_COLUMNS if name in known and known[name] != table.id]
        table.box_class = rest[0] if rest else None
    decide_labels(table)


def decide_labels(table: Table) -> None:
    """Decide which columns are to be learned; asked again when the id column turns out to be another one."""
    boxes_only = table.box is not None and table.declared != "labels"
    table.labels = () if boxes_only or table.form else tuple(_label_columns(table))


def _first(known: dict[str, str], names: tuple[str, ...]) -> str | None:
    return next((known[name] for name in names if name in known), None)


def _box(table: Table, known: dict[str, str]) -> tuple[tuple[str, ...] | None, str]:
    bare = {headers.without_box(name): header for name, header in known.items()}
    for form, choices in (("corners", headers.CORNERS), ("size", headers.SIZES), ("centre", headers.CENTRES)):
        for names in choices:
            if all(name in bare for name in names):
                return tuple(bare[name] for name in names), form
    for name in headers.BOX_CELLS:
        column = table.columns.get(known.get(name, ""))
        if column is not None and column.values:
            cells = [four for text in list(column.values)[:200] if (four := numbers(text)) is not None]
            if len(cells) >= 0.9 * min(len(column.values), 200):
                ordered = sum(c > a and d > b for a, b, c, d in cells)
                return (column.name,), "corners" if ordered >= 0.9 * len(cells) else "size"
    return None, ""


def numbers(text: str) -> tuple[float, float, float, float] | None:
    """The four numbers of a cell such as ``[1, 2, 3, 4]``, or None."""
    found = _NUMBERS.findall(text)
    if len(found) != 4:
        return None
    return float(found[0]), float(found[1]), float(found[2]), float(found[3])


def _first_text(table: Table) -> str | None:
    """The first column of many different values."""
    for header, column in table.columns.items():
        if column.rows and len(column.values) >= min(column.rows, _MOST_VALUES) * 0.5 and column.type != "binary":
            return header
    return next(iter(table.columns), None)


def _points(table: Table) -> Iterator[tuple[str, str, str]]:
    """Pairs of columns of coordinates: ``Fovea_X`` and ``Fovea_Y``, ``x1`` and ``y1``; not with a third (mm of space).

    A column of x alone, or one of which the other half is not a number, is none.
    """
    known = {headers.plain(header): header for header in table.columns}
    for name, header in known.items():
        found = headers.coordinate(name)
        if found is None:
            continue
        called, axis, partners = found
        if axis != "x" or partners["y"] not in known or partners["z"] in known:
            continue
        pair = (header, known[partners["y"]])
        if all(_mostly_numbers(table.columns[one]) for one in pair):
            yield called, *pair


def _mostly_numbers(column: Column) -> bool:
    """True for numbers with a slip among them, which must not hide the column."""
    return sum(number(text) is not None for text in column.values) >= 0.9 * max(len(column.values), 1)


def _label_columns(table: Table) -> Iterator[str]:
    known = {table.id, table.split, table.patient, table.reader, table.runs, *(table.box or ())}
    known.update(header for _, *pair in table.points for header in pair)
    unnamed = {f"column {place + 1}" for place in range(len(table.columns))}
    for header, column in table.columns.items():
        name = headers.plain(header)
        nameless = header in unnamed
        if header in known or name in headers.PATIENT_COLUMNS or (headers.never_learned(header) and not nameless):
            continue
        if name in headers.ID_COLUMNS and name not in headers.CLASS_COLUMNS:
            continue
        if table.declared != "labels" and {value.lower() for value in column.values} <= _SAYS_NOTHING:
            continue
        few = 2 <= len(column.values) <= _FEW_CLASSES and len(column.values) <= 0.5 * column.rows
        if nameless:
            if few and column.type in ("binary", "category"):
                yield header
            continue
        if column.type == "number" and name in headers.CLASS_COLUMNS and few and _whole(column):
            column.coded = True
        if (
            column.type == "binary"
            or (column.type == "category" and name in headers.CLASS_COLUMNS)
            or (table.declared == "labels" and (column.type in ("category", "number") or not column.rows))
        ):
            yield header


def _whole(column: Column) -> bool:
    return all((number(text) or 0.0).is_integer() for text in column.values)


def _must_have(table: Table) -> None:
    said = ", ".join(table.columns)
    if table.declared == "boxes" and table.box is None:
        raise InputError(
            f"{table.path} has no box columns, only {said}",
            expected="x0, y0, x1, y1 (or xmin, ymin, xmax, ymax, or x, y, width, height)",
        )
    if table.declared == "splits" and table.split is None:
        raise InputError(f"{table.path} has no split column, only {said}", expected="a column named split")
    if table.declared == "labels" and not table.labels:
        raise InputError(f"{table.path} has no label columns, only {said}", expected="an id and at least one label")


def corners(table: Table, row: dict[str, str]) -> tuple[float, float, float, float] | None:
    """The box of a row as x0, y0, x1, y1; NaN for what is no number, None for a row that says there is no box.

    A negative has four empty cells, four times -1, or the name of a class that means nothing is there.
    """
    assert table.box is not None
    cells = [(row.get(column) or "").strip() for column in table.box]
    if all(cell.lower() in _MISSING for cell in cells):
        return None
    if len(cells) == 1:
        a, b, c, d = numbers(cells[0]) or (math.nan, math.nan, math.nan, math.nan)
    else:
        a, b, c, d = (_float(cell) for cell in cells)
    if a == b == c == d == -1:
        return None
    if table.box_class and (row.get(table.box_class) or "").strip().lower() in headers.NEGATIVE_NAMES and not c - a > 1:
        return None
    if table.box_form == "size":
        return a, b, a + c, b + d
    if table.box_form == "centre":
        return a - c / 2, b - d / 2, a + c / 2, b + d / 2
    return a, b, c, d


def _float(text: str) -> float:
    value = number(text)
    return math.nan if value is None else value


def classes(text: str) -> list[str]:
    """Class names of a cell; ``A|B``, ``A;B`` and ``A, B`` are several."""
    for separator in ("|", ";", ","):
        if separator in text:
            return [part.strip() for part in text.split(separator) if part.strip()]
    return [text.strip()] if text.strip().lower() not in _MISSING else []


def relative(path: Path, root: str) -> str:
    """How a report names a table: relative to the data folder where it lies in it."""
    try:
        inside = os.path.relpath(path, root)
    except ValueError:
        return os.path.abspath(path)
    return os.path.abspath(path) if inside.startswith("..") else inside.replace(os.sep, "/")
