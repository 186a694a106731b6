"""The user's tables joined with the images: every table may name files, series, studies, patients or cases."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from traindx.data.store import Store
from traindx.data.tables import Table, classes, corners, join_key, read_rows, truth

_CANDIDATES = ("name", "sop", "series", "case_key", "patient", "study")


def fill(store: Store, tables: Iterable[Table]) -> None:
    """Write the rows of all tables into the store."""
    for table in tables:
        if table.id is None:
            continue
        if table.box is not None:
            store.fill("boxes", _boxes(table))
        if table.split is not None:
            store.fill("splits", _column(table, table.split))
        if table.patient is not None and table.patient != table.id:
            store.fill("patients", _column(table, table.patient))
        if table.labels:
            store.fill("labels", _labels(table))


def _column(table: Table, column: str) -> Iterator[tuple[Any, ...]]:
    assert table.id is not None
    prefix = "fold " if column.strip().lower() == "fold" else ""
    for row in read_rows(table.path):
        key, value = join_key(row.get(table.id) or ""), (row.get(column) or "").strip()
        if key and value:
            yield table.name, key, prefix + value


def _boxes(table: Table) -> Iterator[tuple[Any, ...]]:
    assert table.id is not None
    for line, row in enumerate(read_rows(table.path), start=2):
        name = (row.get(table.box_class) or "").strip() if table.box_class else ""
        yield table.name, line, join_key(row.get(table.id) or ""), name, *corners(table, row)


def _labels(table: Table) -> Iterator[tuple[Any, ...]]:
    assert table.id is not None
    for row in read_rows(table.path):
        key = join_key(row.get(table.id) or "")
        for header in table.labels:
            column, text = table.columns[header], (row.get(header) or "").strip()
            if column.type == "binary":
                value = truth(text)
                if value is not None:
                    yield table.name, key, header, value
            elif column.type == "category":
                for name in classes(text):
                    yield table.name, key, f"{header}={name}", 1.0


def resolve(store: Store) -> None:
    """Give every image the split and the patient that the tables say; tables win over folders and headers."""
    for table, column in (("splits", "split"), ("patients", "patient")):
        for (source,) in list(store.rows(f"SELECT DISTINCT source FROM {table}")):
            key = matching_column(store, table, source)
            if key:
                store.run(
                    f"UPDATE items SET {column} = (SELECT {column} FROM {table} WHERE source = ? AND id = items.{key}) "
                    f"WHERE {key} IN (SELECT id FROM {table} WHERE source = ?)",
                    source,
                    source,
                )
    known = "SELECT DISTINCT 'images', name, split FROM items WHERE split <> '' AND name NOT IN (SELECT id FROM splits)"
    store.run(f"INSERT INTO splits {known}")


def matching_column(store: Store, table: str, source: str) -> str:
    """The column of ``items`` that the names in a table refer to: the one that most of them are found in."""
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
