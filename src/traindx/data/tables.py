"""The user's CSV tables: which column is what, and their rows into the store.

A table given by name is what the user says it is. A table that merely lies in the data folder is used for what it
plainly holds (boxes, splits, patients, columns of 0 and 1), and its findings are marked as undeclared.
"""

from __future__ import annotations

import csv
import math
import os
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from traindx.data.names import without_suffix
from traindx.errors import InputError

ID_COLUMNS = (
    "id", "image_id", "imageid", "image", "image_index", "image index", "filename", "file_name", "file", "path",
    "image_path", "dicom_id", "sopinstanceuid", "case", "case_id", "caseid", "study_id", "name", "scan", "scan_id",
    "accession",
)  # fmt: skip
SPLIT_COLUMNS = ("split", "subset", "partition", "set", "fold")
PATIENT_COLUMNS = ("patient", "patientid", "patient_id", "patient id", "subject", "subject_id", "subjectid", "pid")
CLASS_COLUMNS = (
    "class", "class_name", "classname", "label", "label_name", "category", "finding", "findings", "finding_label",
    "finding labels", "diagnosis", "concept", "target", "lesion", "lung", "organ", "name",
)  # fmt: skip
CORNERS = (
    ("x0", "y0", "x1", "y1"), ("xmin", "ymin", "xmax", "ymax"), ("x_min", "y_min", "x_max", "y_max"),
    ("x1", "y1", "x2", "y2"), ("left", "top", "right", "bottom"),
)  # fmt: skip
SIZES = (("x", "y", "w", "h"), ("x", "y", "width", "height"), ("bbox_x", "bbox_y", "bbox_w", "bbox_h"))
CENTRES = (("cx", "cy", "w", "h"), ("x_center", "y_center", "width", "height"))
DESCRIPTIONS = frozenset(
    [
        "url",
        "license",
        "licence",
        "view",
        "modality",
        "orig_w",
        "orig_h",
        "width",
        "height",
        "age",
        "sex",
        "gender",
        "date",
        "offset",
        "notes",
        "comment",
        "location",
        "folder",
        "source",
        "doi",
        "institution",
        "manufacturer",
        "unnamed",
        "n_slices",
        "nx",
        "ny",
        "nz",
        "dx",
        "dy",
        "dz",
        "index",
        "row",
    ]
)
"""Columns that describe and are never learned."""

_MOST_VALUES = 1000
_MOST_CLASSES = 100
_MISSING = frozenset(("", "nan", "na", "n/a", "none", "null"))


@dataclass
class Column:
    """What one column holds.

    Attributes:
        name: Its header.
        values: Distinct values with their number (counted up to 1000).
        rows: Rows with a value.
        empty: Rows without.
        numeric: True if every value is a number.
    """

    name: str
    values: Counter[str] = field(default_factory=Counter)
    rows: int = 0
    empty: int = 0
    numeric: bool = True

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
        if self.numeric:
            return "number"
        return "category" if len(self.values) <= _MOST_CLASSES else "text"


@dataclass
class Table:
    """A CSV file and the meaning of its columns (None where it has no such column).

    Attributes:
        path: The file.
        name: What reports call it.
        declared: ``labels``, ``boxes`` or ``splits`` as the user said; empty for tables found in the folder.
        columns: All columns.
        id: Column of image names.
        split: Column of splits.
        patient: Column of patients.
        box: The four box columns.
        box_form: ``corners``, ``size`` or ``centre``.
        box_class: Column of box classes.
        labels: Columns to be learned.
        row_count: Rows.
    """

    path: Path
    name: str
    declared: str = ""
    columns: dict[str, Column] = field(default_factory=dict)
    id: str | None = None
    split: str | None = None
    patient: str | None = None
    box: tuple[str, str, str, str] | None = None
    box_form: str = ""
    box_class: str | None = None
    labels: tuple[str, ...] = ()
    row_count: int = 0


def number(text: str) -> float | None:
    """A cell as a number, or None."""
    try:
        return float(text)
    except ValueError:
        return None


def truth(text: str) -> float | None:
    """A cell of a binary column as 1, 0 or (uncertain) -1; None where it is empty."""
    lower = text.strip().lower()
    if lower in _MISSING:
        return None
    return 1.0 if lower == "true" else 0.0 if lower == "false" else number(lower)


def join_key(text: str) -> str:
    """How a table's name for an image is compared with file names: base name without an image suffix."""
    return without_suffix(text.strip())


def read_rows(path: Path) -> Iterator[dict[str, str]]:
    """Rows of a CSV or TSV file as dictionaries.

    Raises:
        InputError: The file cannot be read as a table.
    """
    try:
        with open(path, newline="", encoding="utf-8-sig", errors="replace") as stream:
            sample = stream.readline()
            stream.seek(0)
            delimiter = max(",;\t", key=sample.count)
            yield from csv.DictReader(stream, delimiter=delimiter)
    except (OSError, csv.Error) as error:
        raise InputError(f"{path} cannot be read as a table: {error}", expected="CSV with a header line") from error


def understand(path: Path, name: str, declared: str = "") -> Table:
    """Read a table once and decide what its columns are.

    Raises:
        InputError: The table is empty, or lacks the columns that its declared kind needs.
    """
    table = Table(path, name, declared)
    for row in read_rows(path):
        if not table.columns:
            table.columns = {header: Column(header) for header in row if header}
        table.row_count += 1
        for header, column in table.columns.items():
            column.see(row.get(header))
    if not table.columns:
        if declared:
            raise InputError(f"{path} has no rows", expected="a header line and at least one row")
        return table
    lower = {header.strip().lower(): header for header in table.columns}
    for form, choices in (("corners", CORNERS), ("size", SIZES), ("centre", CENTRES)):
        for names in choices:
            if table.box is None and all(column in lower for column in names):
                table.box = (lower[names[0]], lower[names[1]], lower[names[2]], lower[names[3]])
                table.box_form = form
    table.split = next((lower[column] for column in SPLIT_COLUMNS if column in lower), None)
    table.patient = next((lower[column] for column in PATIENT_COLUMNS if column in lower), None)
    table.id = next((lower[column] for column in ID_COLUMNS if column in lower), None)
    if table.id is None:
        table.id = table.patient or _first_text(table)
    if table.box is not None:
        rest = [lower[column] for column in CLASS_COLUMNS if column in lower and lower[column] != table.id]
        table.box_class = rest[0] if rest else None
    table.labels = tuple(_label_columns(table)) if table.box is None or declared == "labels" else ()
    _must_have(table)
    return table


def _first_text(table: Table) -> str | None:
    """The first column of many different values."""
    for header, column in table.columns.items():
        if column.rows and len(column.values) >= min(column.rows, _MOST_VALUES) * 0.5 and column.type != "binary":
            return header
    return next(iter(table.columns), None)


def _label_columns(table: Table) -> Iterator[str]:
    known = {table.id, table.split, table.patient, *(table.box or ())}
    for header, column in table.columns.items():
        lower = header.strip().lower()
        if header in known or lower in DESCRIPTIONS or lower in PATIENT_COLUMNS or lower in ID_COLUMNS:
            continue
        if (
            column.type == "binary"
            or (column.type == "category" and lower in CLASS_COLUMNS)
            or (table.declared == "labels" and (column.type in ("category", "number") or not column.rows))
        ):
            yield header


def _must_have(table: Table) -> None:
    headers = ", ".join(table.columns)
    if table.declared == "boxes" and table.box is None:
        raise InputError(
            f"{table.path} has no box columns, only {headers}",
            expected="x0, y0, x1, y1 (or xmin, ymin, xmax, ymax, or x, y, width, height)",
        )
    if table.declared == "splits" and table.split is None:
        raise InputError(f"{table.path} has no split column, only {headers}", expected="a column named split")
    if table.declared == "labels" and not table.labels:
        raise InputError(f"{table.path} has no label columns, only {headers}", expected="an id and at least one label")


def corners(table: Table, row: dict[str, str]) -> tuple[float, float, float, float]:
    """The box of a row as x0, y0, x1, y1; NaN for what is no number."""
    assert table.box is not None
    a, b, c, d = (_float(row.get(column)) for column in table.box)
    if table.box_form == "size":
        return a, b, a + c, b + d
    if table.box_form == "centre":
        return a - c / 2, b - d / 2, a + c / 2, b + d / 2
    return a, b, c, d


def _float(text: str | None) -> float:
    value = number((text or "").strip())
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
