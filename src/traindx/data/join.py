"""The user's tables joined with the images: every table may name files, paths, series, studies, patients or cases."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from traindx.data import headers
from traindx.data.store import Store
from traindx.data.tables import Table, classes, corners, number, truth

_CANDIDATES = ("name", "sop", "series", "case_key", "patient", "study")
_CODES = {"train_val_test": {"1": "train", "2": "val", "3": "test"}}
_FOLDS = ("fold", "kfold", "cv_fold", "fold_id", "folds")


def fill(store: Store, tables: Iterable[Table]) -> None:
    """Write the rows of all tables into the store."""
    for table in tables:
        if table.id is None or table.form:
            continue
        if table.box is not None:
            store.fill("boxes", _boxes(table))
        if table.points:
            store.fill("points", _points(table))
        if table.split is not None and table.split != table.id:
            store.fill("splits", _splits(table, table.split))
        if table.patient is not None and table.patient != table.id:
            store.fill("patients", _column(table, table.patient))
        if table.labels:
            store.fill("labels", _labels(table))
        if table.runs is not None:
            store.fill("runs", _runs(table, table.runs))


def _runs(table: Table, column: str) -> Iterator[tuple[Any, ...]]:
    """How far the run lengths of a row reach, read as starts and as offsets; rows without a mask are left out."""
    for line, row in enumerate(table.rows(), start=2):
        text = (row.get(column) or "").split()
        if len(text) < 2:
            continue  # blank, or -1
        whole = len(text) % 2 == 0 and all(part.isdigit() for part in text)
        pairs = [(int(a), int(b)) for a, b in zip(text[::2], text[1::2], strict=True)] if whole else []
        starts = max((start + length - 1 for start, length in pairs), default=-1)
        yield table.name, line, table.key(row), starts, sum(start + length for start, length in pairs) if whole else -1


def _column(table: Table, column: str) -> Iterator[tuple[Any, ...]]:
    for row in table.rows():
        key, value = table.key(row), (row.get(column) or "").strip()
        if key and value:
            yield table.name, key, value


def _splits(table: Table, column: str) -> Iterator[tuple[Any, ...]]:
    name = headers.plain(column)
    codes = _CODES.get(name, {})
    for source, key, value in _column(table, column):
        yield source, key, f"fold {value}" if name in _FOLDS else codes.get(value, value)


def _boxes(table: Table) -> Iterator[tuple[Any, ...]]:
    for line, row in enumerate(table.rows(), start=2):
        four = corners(table, row)
        if four is not None:
            name = (row.get(table.box_class) or "").strip() if table.box_class else ""
            reader = (row.get(table.reader) or "").strip() if table.reader else ""
            at = row.get("at") or f"{table.name}:{line}"
            yield table.name, line, table.key(row), name, *four, reader, at, row.get("drawn_on") or ""


def _points(table: Table) -> Iterator[tuple[Any, ...]]:
    """Landmarks of every row; blanks and pairs of -1 are landmarks that nobody saw."""
    for line, row in enumerate(table.rows(), start=2):
        for name, across, down in table.points:
            cells = [(row.get(column) or "").strip() for column in (across, down)]
            if not all(cells):
                continue
            x, y = (number(cell) for cell in cells)  # what is no number stays one that is wrong
            if not x == y == -1:
                yield table.name, line, table.key(row), name, x, y


def _labels(table: Table) -> Iterator[tuple[Any, ...]]:
    mentions = any(_mentions(table, header) for header in table.labels)
    for row in table.rows():
        key = table.key(row)
        if mentions and not any((row.get(header) or "").strip() for header in table.labels):
            yield table.name, key, "", None  # nothing is mentioned: a label all the same
        for header in table.labels:
            column, text = table.columns[header], (row.get(header) or "").strip()
            if column.type == "binary":
                value = truth(text)
                if value is not None:
                    kind = (row.get(table.id or "") or "").rpartition("_")[2] if table.long else header
                    yield table.name, key, kind, value
            elif column.type == "category":
                for name in classes(text):
                    yield table.name, key, f"{header}={name}", 1.0


def _mentions(table: Table, header: str) -> bool:
    """True for a column of mentions, in which no cell says 0 and a blank is the other class."""
    column = table.columns[header]
    return column.type == "binary" and column.empty > 0 and 0.0 not in {truth(text) for text in column.values}


def resolve(store: Store) -> None:
    """Give every image the split and the patient that the tables say; tables win over folders and headers."""
    for table, column in (("splits", "split"), ("patients", "patient")):
        for (source,) in list(store.rows(f"SELECT DISTINCT source FROM {table}")):
            key = matching_column(store, table, source)
            if str(source).endswith("]"):
                continue  # one of several folds: each divides the cases anew
            if key:
                store.run(
                    f"UPDATE items SET {column} = (SELECT {column} FROM {table} WHERE source = ? AND id = items.{key}) "
                    f"WHERE {key} IN (SELECT id FROM {table} WHERE source = ?)",
                    source,
                    source,
                )
            if key == "tail":  # one slice of a folder is named; the others are of the same patient and split
                store.run(
                    f"UPDATE items SET {column} = (SELECT MIN(j.{column}) FROM items j WHERE j.folder = items.folder "
                    f"AND j.{column} <> '') WHERE {column} = '' AND folder IN (SELECT folder FROM items "
                    f"WHERE {column} <> '' GROUP BY folder HAVING COUNT(DISTINCT {column}) = 1)"
                )
    known = "SELECT DISTINCT 'images', name, split FROM items WHERE split <> '' AND name NOT IN (SELECT id FROM splits)"
    store.run(f"INSERT INTO splits {known}")


def matching_column(store: Store, table: str, source: str) -> str:
    """The column of ``items`` that a table is joined by; where undecided, the one most of its names are found in."""
    if source in store.joined:
        return store.joined[source]
    best, most = "", 0
    total = store.count(f"SELECT COUNT(DISTINCT id) FROM {table} WHERE source = ?", source)
    for column in _CANDIDATES:
        found = store.count(
            f"SELECT COUNT(DISTINCT t.id) FROM {table} t JOIN items i ON i.{column} = t.id WHERE t.source = ?", source
        )
        if found > most:
            best, most = column, found
        if found == total:
            break
    return best
