"""The facts of all files in one SQLite file: constant memory, and the user can ask it questions afterwards.

Tables: ``files`` (one row a file, with what became of it), ``items`` (one row an image or mask, columns of
:class:`traindx.data.facts.Facts`), ``labels``, ``boxes``, ``splits``, ``patients`` and ``runs`` (rows of
the user's tables).
"""

from __future__ import annotations

import re
import sqlite3
import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from traindx.data.facts import COLUMNS, Facts, Report
from traindx.data.layout.survey import folder_group
from traindx.data.names import without_suffix

_TYPES = {"int": "INTEGER", "float": "REAL", "str": "TEXT", "bytes": "BLOB"}
_BATCH = 2048


_LETTERS = re.compile(r"^[A-Za-z]+(?=\d)")


def visit(path: str) -> str:
    """The number of a folder such as ``s50414267``, which tables call a study by."""
    last = path.rpartition("/")[0].rpartition("/")[2]
    rest = _LETTERS.sub("", last)
    return rest if rest.isdigit() and rest != last else ""


def _stem(path: str) -> str:
    folder, slash, base = path.rpartition("/")
    return folder + slash + without_suffix(base)


PLACES = {
    "grp": folder_group,
    "stem": _stem,
    "folder": lambda path: path.rpartition("/")[0],
    "visit": visit,
    "tail": lambda path: "_".join(_stem(path).split("/")[-2:]),
}
"""What a path says beyond its name, for pairs and joins: its group of folders, itself without suffix, its folder,
the number of that folder, and the last folder joined to the name (``000001_01_01/109.png``
is ``000001_01_01_109`` in a table)."""


class Store:
    """Facts on disk.

    Attributes:
        joined: Column of ``items`` by which the rows of a table are joined, by the name of the table.

    Args:
        path: The file to write, replaced if it is there; None takes a temporary one that is removed on close.
    """

    def __init__(self, path: Path | None = None) -> None:
        self._temporary = None
        if path is None:
            self._temporary = tempfile.TemporaryDirectory(prefix="traindx-")
            path = Path(self._temporary.name) / "files.sqlite"
        path.unlink(missing_ok=True)
        self.path = path
        self.joined: dict[str, str] = {}
        self._connection = sqlite3.connect(path, isolation_level=None)
        types = {name: _TYPES[str(kind)] for name, kind in Facts.__annotations__.items() if name != "histogram"}
        types["set_name"] = "TEXT"
        columns = ", ".join(f"{name} {types[name]}" for name in COLUMNS)
        places = ", ".join(f"{name} TEXT" for name in (*PLACES, "home"))
        for statement in (
            "PRAGMA journal_mode = OFF",
            "PRAGMA synchronous = OFF",
            "PRAGMA cache_size = -16000",  # 16 MB, whatever the number of files
            "PRAGMA temp_store = FILE",
            f"CREATE TABLE items (id INTEGER PRIMARY KEY, {columns}, {places})",
            "CREATE TABLE files (path TEXT, status TEXT, kind TEXT, size INTEGER, reason TEXT)",
            "CREATE TABLE labels (source TEXT, id TEXT, name TEXT, value REAL)",
            "CREATE TABLE boxes (source TEXT, line INTEGER, id TEXT, name TEXT, x0 REAL, y0 REAL, x1 REAL, y1 REAL, "
            "reader TEXT, at TEXT)",
            "CREATE TABLE splits (source TEXT, id TEXT, split TEXT)",
            "CREATE TABLE runs (source TEXT, line INTEGER, id TEXT, starts INTEGER, offsets INTEGER)",
            "CREATE TABLE patients (source TEXT, id TEXT, patient TEXT)",
            "BEGIN",
        ):
            self._connection.execute(statement)
        self._insert = f"INSERT INTO items ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"

    def add(self, reports: Iterable[Report]) -> None:
        """Keep what came of some files."""
        came = list(reports)
        read = (row for report in came if report.status == "read" for row in report.rows)
        self._connection.executemany(self._insert, read)
        files = ((report.path, report.status, report.kind, report.size, report.reason) for report in came)
        self._connection.executemany("INSERT INTO files VALUES (?, ?, ?, ?, ?)", files)

    def fill(self, table: str, rows: Iterable[tuple[Any, ...]]) -> None:
        """Append rows to one of the tables of the user's tables, as they come."""
        batch: list[tuple[Any, ...]] = []
        for values in rows:
            batch.append(values)
            if len(batch) >= _BATCH:
                self._connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(values))})", batch)
                batch = []
        if batch:
            self._connection.executemany(f"INSERT INTO {table} VALUES ({', '.join('?' * len(batch[0]))})", batch)

    def index(self) -> None:
        """Indices for the audits, made once everything is in."""
        for column in ("name", "case_key", "series", "digest", "set_name", "sop", "patient", *PLACES):
            self._connection.execute(f"CREATE INDEX IF NOT EXISTS items_{column} ON items ({column})")
        for table in ("labels", "boxes", "splits", "patients", "runs"):
            self._connection.execute(f"CREATE INDEX IF NOT EXISTS {table}_id ON {table} (id)")

    def place(self) -> None:
        """Fill the columns of :data:`PLACES` from the paths, once everything is in.

        ``home`` keeps the split that folders say, whatever tables make of it.
        """
        for name, said in PLACES.items():
            self._connection.create_function(f"place_{name}", 1, said, deterministic=True)
        columns = ", ".join(f"{name} = place_{name}(path)" for name in PLACES)
        self._connection.execute(f"UPDATE items SET {columns}, home = split")

    def run(self, statement: str, *values: Any) -> None:
        """Execute a statement that returns nothing."""
        self._connection.execute(statement, values)

    def rows(self, query: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Rows of a query, streamed."""
        return iter(self._connection.execute(query, values))

    def one(self, query: str, *values: Any) -> tuple[Any, ...]:
        """The first row of a query; a row of None where there is none."""
        found: tuple[Any, ...] | None = self._connection.execute(query, values).fetchone()
        return found if found is not None else (None,)

    def count(self, query: str, *values: Any) -> int:
        """The first value of a query as an integer."""
        return int(self.one(query, *values)[0] or 0)

    def close(self) -> None:
        """Write everything and close; a temporary store is removed."""
        self._connection.execute("COMMIT")
        self._connection.close()
        if self._temporary is not None:
            self._temporary.cleanup()
