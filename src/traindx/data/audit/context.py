"""What every audit is given, and how it names what it found."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traindx.data.layout.conventions import Convention
from traindx.data.options import Options
from traindx.data.privacy import Identities
from traindx.data.store import Store
from traindx.data.tables import Table
from traindx.evidence import Evidence, NotExamined
from traindx.evidence.dataset import Example, Share, Spread

EXAMPLES = 10_000
"""Examples kept a count: a report shows three, the JSON and the list to mend hold them all up to here."""


@dataclass
class AuditRoom:
    """The store and where evidence goes.

    Attributes:
        store: Facts of all files.
        evidence: Where records go.
        options: What the user said.
        tables: The user's tables.
        root: The data folder as the user wrote it.
        convention: The public layout that was recognised or chosen.
        declared_labels: Label values from a ``dataset.json`` in the folder.
        notes: Free-form results for pictures (for example histograms by set).
        identities: What identifies patients, for what is written.
    """

    store: Store
    evidence: Evidence
    options: Options
    tables: tuple[Table, ...] = ()
    root: str = ""
    convention: Convention | None = None
    declared_labels: tuple[float, ...] = ()
    notes: dict[str, Any] = field(default_factory=dict)
    identities: Identities = field(default_factory=Identities)

    def skip(self, subject: str, reason: str) -> None:
        """List something as not examined."""
        self.evidence.add(NotExamined(subject=subject, reason=reason))

    def sets(self, role: str = "image") -> list[str]:
        """Names of the sets of one role."""
        query = "SELECT DISTINCT set_name FROM items WHERE role = ? ORDER BY set_name"
        return [name for (name,) in self.store.rows(query, role)]

    def columns(self, names: str, where: str, *values: Any) -> tuple[NDArray[np.float64], ...]:
        """Numeric columns of the selected items as arrays; NULL (SQLite's NaN) becomes NaN again."""
        found = list(self.store.rows(f"SELECT {names} FROM items WHERE {where} ORDER BY path, item, key", *values))
        table = np.array(found, dtype=np.float64).reshape(len(found), names.count(",") + 1)
        return tuple(table.T)

    def tally(self, column: str, where: str, *values: Any) -> tuple[Share, ...]:
        """Values of a column by frequency."""
        query = f"SELECT {column}, COUNT(*) AS n FROM items WHERE {where} GROUP BY {column} ORDER BY n DESC, {column}"
        return tuple(
            Share(value=str(value), count=count) for value, count in self.store.rows(query + " LIMIT 20", *values)
        )

    def examples(
        self, columns: str, where: str, say: Any, *values: Any, order: str = "path, item"
    ) -> tuple[Example, ...]:
        """The first items of a selection as examples.

        Args:
            columns: Columns handed to ``say``.
            where: Selection.
            say: ``(*columns) -> detail`` or ``(detail, value)``.
            values: Parameters of the selection.
            order: Which come first.
        """
        which = "path, item, key, name"
        query = f"SELECT {which}, {columns} FROM items WHERE {where} ORDER BY {order}, path, item LIMIT {EXAMPLES}"
        return tuple(_example(item_name(*row[:4]), say(*row[4:])) for row in self.store.rows(query, *values))


def _example(name: str, said: Any) -> Example:
    if isinstance(said, tuple):
        return Example(name=name, detail=said[0], value=float(said[1]))
    return Example(name=name, detail=str(said))


def item_name(path: str, item: int = -1, key: str = "", name: str = "") -> str:
    """``file``, ``file#key``, or ``file#key[3]`` with the name of that case behind it where it has one."""
    inside = f"{key}[{item}]" if item >= 0 else key
    known = f" {name}" if item >= 0 and name and "#" not in name else ""
    return f"{path}#{inside}{known}" if inside else path


def spread(values: NDArray[np.float64]) -> Spread:
    """Lowest, median and highest of the finite values."""
    finite = values[np.isfinite(values)]
    if not finite.size:
        return Spread(low=float("nan"), median=float("nan"), high=float("nan"))
    return Spread(low=float(finite.min()), median=float(np.median(finite)), high=float(finite.max()))


class Collector:
    """Counts everything it is shown and keeps the examples that are furthest off.

    Args:
        worst_first: Keep the examples of highest value instead of the first ones.
    """

    def __init__(self, *, worst_first: bool = False) -> None:
        self.count = 0
        self._worst = worst_first
        self._kept: list[tuple[float, int, Example]] = []

    def add(self, name: str, detail: str = "", value: float = float("nan")) -> None:
        """One more case."""
        self.count += 1
        rank = -value if self._worst and math.isfinite(value) else 0.0
        self._kept.append((rank, self.count, Example(name=name, detail=detail, value=value)))
        if len(self._kept) > 4 * EXAMPLES:
            self._trim()

    def _trim(self) -> None:
        self._kept.sort(key=lambda entry: entry[:2])
        del self._kept[EXAMPLES:]

    @property
    def examples(self) -> tuple[Example, ...]:
        """The kept examples."""
        self._trim()
        return tuple(example for _, _, example in self._kept)


def grouped(rows: Iterator[tuple[Any, ...]]) -> Iterator[tuple[Any, list[tuple[Any, ...]]]]:
    """Consecutive rows with the same first column, one group in memory at a time."""
    current: Any = None
    members: list[tuple[Any, ...]] = []
    for row in rows:
        if members and row[0] != current:
            yield current, members
            members = []
        current = row[0]
        members.append(row)
    if members:
        yield current, members


def batched(rows: Iterator[tuple[Any, ...]], size: int) -> Iterator[list[tuple[Any, ...]]]:
    """Rows in lists of at most ``size``."""
    while batch := list(islice(rows, size)):
        yield batch
