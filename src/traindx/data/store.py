"""The facts of all files in one SQLite file: constant memory, and the user can ask it questions afterwards.

Tables: ``files`` (one row a file, with what became of it), ``items`` (one row an image or mask, columns of
:class:`traindx.data.facts.Facts`), ``labels``, ``boxes``, ``points``, ``splits``, ``patients`` and ``runs`` (rows
of the user's tables).
"""

from __future__ import annotations

import os
import re
import sqlite3
import threading
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import fields
from pathlib import Path
from typing import Any
from urllib.parse import quote

from traindx.data.facts import COLUMNS, PASSING, Facts, Report
from traindx.data.layout.survey import folder_group
from traindx.data.names import without_suffix
from traindx.data.sealed import Journal

_TYPES = {"int": "INTEGER", "float": "REAL", "str": "TEXT", "bytes": "BLOB"}
_BATCH = 2048


OF_TABLES = ("labels", "boxes", "points", "splits", "patients", "runs")
"""Tables of the store that hold rows of the user's tables; each has a column ``id``."""

STORE = "files.sqlite"
PARTIAL = ".unfinished"
"""Ends the name of what a run that goes on keeps, sealed: the next run in the same folder goes on from it."""

_EVERY = 2.0
"""Seconds after which what came is written down; what a kill costs is read again."""

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
        path: The file to write, replaced if it is there; it appears whole, when the store is closed. None takes a
            temporary one that is removed on close.
        signature: What the facts depend on besides the files. A store of the same signature that a killed run left is
            gone on from.
    """

    def __init__(self, path: Path | None = None, signature: str = "") -> None:
        self.joined: dict[str, str] = {}
        if path is not None:
            path.unlink(missing_ok=True)
        self.path = path
        self._journal = Journal(path.with_name(path.name + PARTIAL), signature) if path is not None else None
        self._connection, self._working = _scratch(path)
        self._shared = threading.Lock()
        for statement in (
            "PRAGMA journal_mode = OFF",  # nobody reads it but this process, and it is gone with it
            "PRAGMA synchronous = OFF",
            "PRAGMA locking_mode = EXCLUSIVE",
            "PRAGMA cache_size = -16000",  # 16 MB, whatever the number of files
            "PRAGMA temp_store = FILE",
        ):
            self._connection.execute(statement)
        self._make()
        self._connection.execute("BEGIN")
        self._insert = f"INSERT INTO items ({', '.join(COLUMNS)}) VALUES ({', '.join('?' * len(COLUMNS))})"
        self._histograms: dict[str, list[int]] = {}
        self._waiting: list[Report] = []
        self._written = time.monotonic()
        if self._journal is not None and self._journal.resumed:
            self._go_on()

    @property
    def resumed(self) -> bool:
        """True if a killed run left facts."""
        return self._journal is not None and self._journal.resumed

    @property
    def since(self) -> float:
        """When the killed run wrote the last of them, in seconds since the epoch."""
        return self._journal.since if self._journal is not None else 0.0

    def _go_on(self) -> None:
        """Take in what a killed run left."""
        assert self._journal is not None
        for record in self._journal.records():
            self._histograms = record["histograms"]
            reports = [_report(values) for values in record["reports"]]
            self._take(reports)
            for report in reports:
                self.note(report.identifiers)
        self._connection.execute("CREATE INDEX files_path ON files (path)")

    def _make(self) -> None:
        types = {name: _TYPES[str(kind)] for name, kind in Facts.__annotations__.items() if name not in PASSING}
        types["set_name"] = "TEXT"
        columns = ", ".join(f"{name} {types[name]}" for name in COLUMNS)
        places = ", ".join(f"{name} TEXT" for name in (*PLACES, "home"))
        for statement in (
            f"CREATE TABLE items (id INTEGER PRIMARY KEY, {columns}, {places})",
            "CREATE TABLE files (path TEXT, status TEXT, kind TEXT, size INTEGER, reason TEXT)",
            "CREATE TABLE labels (source TEXT, id TEXT, name TEXT, value REAL)",
            "CREATE TABLE boxes (source TEXT, line INTEGER, id TEXT, name TEXT, x0 REAL, y0 REAL, x1 REAL, y1 REAL, "
            "reader TEXT, at TEXT, drawn_on TEXT)",
            "CREATE TABLE points (source TEXT, line INTEGER, id TEXT, name TEXT, x REAL, y REAL)",
            "CREATE TABLE splits (source TEXT, id TEXT, split TEXT)",
            "CREATE TABLE runs (source TEXT, line INTEGER, id TEXT, starts INTEGER, offsets INTEGER)",
            "CREATE TABLE patients (source TEXT, id TEXT, patient TEXT)",
            "CREATE TABLE identifiers (kind TEXT, value TEXT, PRIMARY KEY (kind, value)) WITHOUT ROWID",
        ):
            self._connection.execute(statement)

    def knows(self, path: str, size: int) -> bool:
        """True if a run that was killed looked at this file already."""
        query = "SELECT size FROM files WHERE path = ? LIMIT 1"
        with self._shared:  # the thread that walks the folder asks, while another one adds
            return bool(self.one(query, path)[0] == size)

    def note(self, identifiers: Iterable[tuple[str, str]]) -> None:
        """Keep identifiers of patients for as long as the run goes on, so that the next one can go on from it."""
        with self._shared:
            self._connection.executemany("INSERT OR IGNORE INTO identifiers VALUES (?, ?)", identifiers)

    def forget(self) -> None:
        """Remove them."""
        self._connection.execute("DROP TABLE identifiers")

    def histograms(self) -> dict[str, list[int]]:
        """Grey-value histograms by set of what a killed run read."""
        return self._histograms

    def checkpoint(self, histograms: Mapping[str, Sequence[int]], *, now: bool = False) -> None:
        """Write down what came, every two seconds."""
        if self._journal is None or not (now or time.monotonic() - self._written >= _EVERY):
            return
        counts = {name: [int(count) for count in counted] for name, counted in histograms.items()}
        reports = [[getattr(report, name) for name in _REPORT] for report in self._waiting]
        for report in reports:
            report[_REPORT.index("identifiers")] = sorted(report[_REPORT.index("identifiers")])
        self._journal.append({"reports": reports, "histograms": counts})
        self._waiting = []
        self._written = time.monotonic()

    def add(self, reports: Iterable[Report]) -> None:
        """Keep what came of some files."""
        came = list(reports)
        self._take(came)
        if self._journal is not None:
            self._waiting += came

    def _take(self, came: list[Report]) -> None:
        read = (row for report in came if report.status == "read" for row in report.rows)
        files = ((report.path, report.status, report.kind, report.size, report.reason) for report in came)
        with self._shared:
            self._connection.executemany(self._insert, read)
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
        for table in OF_TABLES:
            self._connection.execute(f"CREATE INDEX IF NOT EXISTS {table}_id ON {table} (id)")

    def place(self) -> None:
        """Fill the columns of :data:`PLACES` from the paths, once everything is in.

        ``home`` keeps the split that folders say, whatever tables make of it.
        """
        for name, said in PLACES.items():
            self._connection.create_function(f"place_{name}", 1, said, deterministic=True)
        columns = ", ".join(f"{name} = place_{name}(path)" for name in PLACES)
        self._connection.execute(f"UPDATE items SET {columns}, home = split")

    def function(self, name: str, arguments: int, function: Callable[..., Any]) -> None:
        """Make a function known to queries."""
        self._connection.create_function(name, arguments, function, deterministic=True)

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

    def keep(self) -> None:
        """Give the store its name: it appears whole, and what a killed run would have left is removed."""
        if self.path is None:
            return
        self._connection.execute("COMMIT")
        new = self.path.with_name(self.path.name + ".new")
        new.unlink(missing_ok=True)
        os.close(os.open(new, os.O_RDWR | os.O_CREAT | os.O_EXCL, 0o600))  # names of files are nobody else's business
        self._copy(new)
        os.replace(new, self.path)
        if self._journal is not None:
            self._journal.remove()

    def _copy(self, new: Path) -> None:
        """Everything that is valid into a file: pages that were freed hold what stood there before it was masked."""
        try:
            self._connection.execute("VACUUM INTO ?", (str(new),))
        except UnicodeEncodeError:  # a folder whose name is no text
            self._connection.execute("VACUUM")
            with closing(sqlite3.connect(new)) as written:
                self._connection.backup(written)

    def close(self) -> None:
        """Close; without :meth:`keep` before, the facts of files wait for the next run."""
        self._connection.close()
        if self._working is not None:
            self._working.unlink(missing_ok=True)
        if self._journal is not None:
            self._journal.close()


class Reader:
    """A store that was written, to be asked.

    Args:
        path: The file.
    """

    def __init__(self, path: Path) -> None:
        self._connection = sqlite3.connect(f"file:{quote(str(path))}?mode=ro", uri=True)

    def __enter__(self) -> Reader:
        return self

    def __exit__(self, *_: object) -> None:
        self._connection.close()

    def rows(self, query: str, *values: Any) -> Iterator[tuple[Any, ...]]:
        """Rows of a query, streamed."""
        return iter(self._connection.execute(query, values))

    def holds(self, name: str) -> bool:
        """True if a case, a patient or a row of a table is called so."""
        queries = (
            "SELECT 1 FROM items WHERE name = ? OR case_key = ? LIMIT 1",
            "SELECT 1 FROM items WHERE patient = ? OR study = ? LIMIT 1",
            *(f"SELECT 1 FROM {table} WHERE id = ? LIMIT 1" for table in OF_TABLES),
        )
        return any(next(self.rows(query, *([name] * query.count("?"))), None) is not None for query in queries)


_REPORT = tuple(item.name for item in fields(Report))


def _report(values: list[Any]) -> Report:
    """A report as it was before it was written down."""
    report = Report(*values)
    report.rows = [tuple(row) for row in report.rows]
    report.identifiers = {(str(kind), str(value)) for kind, value in report.identifiers}
    return report


def _scratch(path: Path | None) -> tuple[sqlite3.Connection, Path | None]:
    """A database that nobody else sees, on the disk of ``path``, gone with this process; a file only where it must be.

    Returns:
        The connection, and the file to remove where the system does not let go of the name of an open file.
    """
    if path is None:
        return sqlite3.connect("", isolation_level=None, check_same_thread=False), None
    name = path.with_name(f"{path.name}.{os.getpid()}")
    os.close(os.open(name, os.O_RDWR | os.O_CREAT | os.O_TRUNC, 0o600))
    connection = sqlite3.connect(name, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("SELECT * FROM sqlite_master").fetchall()  # opens the file
        name.unlink()
    except OSError:
        return connection, name
    return connection, None
