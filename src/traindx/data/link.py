"""Which column of a table names the images, and by what they are joined: file name, path, folder, series, patient.

Headers do not decide it: ``patientId`` is a file name in one public table and a patient in the next. What the folder
holds does. The most specific thing that most rows find wins; where names repeat (``view1_frontal.jpg``) rows are joined
by their paths.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable
from itertools import islice

from traindx.data import headers
from traindx.data.names import PATIENT, without_suffix
from traindx.data.store import Store
from traindx.data.tables import Table, decide_labels, join_key

KEYS = ("stem", "name", "tail", "sop", "series", "case_key", "study", "visit", "folder", "patient")
"""Columns of ``items`` that a table may refer to, the most specific first."""

ENOUGH = 0.5
"""Share of the sampled rows that must be found; below, a table may still be for another part of the set."""

_SAMPLED_ROWS = 3000
_SAMPLED = 150

Key = Callable[[str], str]


def link(store: Store, table: Table) -> str:
    """Decide the id column of a table and the column of ``items`` that it is joined by.

    Returns:
        That column, or nothing where no row finds an image. The table's ``id``, ``joins`` and ``labels`` are set.
    """
    if table.id is None:
        return ""
    values = _samples(table)
    best: tuple[tuple[bool, bool, int, float, int], str, str, Key, bool] | None = None
    for place, header in enumerate(_candidates(table)):
        sample = values.get(header, [])
        if not sample:
            continue
        for key, joins, long in _ways(store, sample):
            rank = len(KEYS) if long else KEYS.index(key)
            hits = _hits(store, key, {joins(text) for text in sample} - {""})
            share = hits / len({joins(text) for text in sample})
            rated = (share >= ENOUGH, headers.plain(header) in headers.ID_COLUMNS, -rank, share, -place)
            if hits and (best is None or rated > best[0]):
                best = (rated, header, key, joins, long)
    if best is None:
        return ""
    _, table.id, key, table.joins, table.long = best
    decide_labels(table)
    store.joined[table.name] = key
    return key


def _candidates(table: Table) -> list[str]:
    """Columns that may name images, the likely ones first."""
    known = [header for header in table.columns if header not in (table.box or ()) and header != table.runs]
    likely = {name: place for place, name in enumerate(headers.ID_COLUMNS)}
    known.sort(key=lambda header: (header != table.id, likely.get(headers.plain(header), len(likely))))
    return [header for header in known if table.columns[header].type != "binary" and table.columns[header].rows][:12]


def _samples(table: Table) -> dict[str, list[str]]:
    """Different values of every column, from the first rows and from further down."""
    found: dict[str, dict[str, None]] = {header: {} for header in table.columns}
    step = max(1, table.row_count // _SAMPLED_ROWS)
    for row in islice(table.rows(), 0, None, step):
        for header, kept in found.items():
            text = (row.get(header) or "").strip()
            if text and len(kept) < _SAMPLED:
                kept[text] = None
    return {header: list(kept) for header, kept in found.items()}


def _ways(store: Store, sample: Iterable[str]) -> list[tuple[str, Key, bool]]:
    """Key of ``items``, how a cell is turned into it, and whether the cell holds a class as well."""
    listed = list(sample)
    ways: list[tuple[str, Key, bool]] = []
    if sum("/" in text or "\\" in text for text in listed) >= ENOUGH * len(listed):
        for key in ("stem", "folder"):
            by_path = _by_path(store, key, listed)
            if by_path is not None:
                ways.append((key, by_path, False))
    ways += [(key, _patient if key == "patient" else join_key, False) for key in KEYS if key not in ("stem", "folder")]
    if sum("_" in text for text in listed) >= ENOUGH * len(listed):
        ways.append(("name", _before_class, True))
    return ways


def _patient(text: str) -> str:
    found = PATIENT.match(text.strip())
    return found[1] if found else text.strip()


def _before_class(text: str) -> str:
    return join_key(text.rpartition("_")[0])


def _by_path(store: Store, key: str, sample: list[str]) -> Key | None:
    """How many folders stand in a cell before the data folder begins, and the other way round; None for no likeness."""
    votes: Counter[tuple[int, str]] = Counter()
    for text in sample[:40]:
        parts = _parts(text)
        column = "name" if key == "stem" else "folder"
        pattern = parts[-1] if key == "stem" else f"%{parts[-1]}"
        compare = "=" if key == "stem" else "LIKE"
        for (found,) in list(
            store.rows(f"SELECT DISTINCT {key} FROM items WHERE {column} {compare} ? LIMIT 200", pattern)
        ):
            have = str(found).split("/")
            shared = 0
            while shared < min(len(parts), len(have)) and parts[-1 - shared] == have[-1 - shared]:
                shared += 1
            if shared >= min(2, len(parts), len(have)) and shared in (len(parts), len(have)):
                votes[len(parts) - shared, "/".join(have[: len(have) - shared])] += 1
    if not votes:
        return None
    (strip, before), _ = max(votes.items(), key=lambda vote: (vote[1], -vote[0][0]))
    prefix = before + "/" if before else ""
    return lambda text: prefix + "/".join(_parts(text)[strip:])


def _parts(text: str) -> list[str]:
    parts = [part for part in text.strip().replace("\\", "/").split("/") if part not in ("", ".")]
    return [*parts[:-1], without_suffix(parts[-1])] if parts else [""]


def _hits(store: Store, key: str, wanted: set[str]) -> int:
    return sum(store.count(f"SELECT 1 FROM items WHERE {key} = ? LIMIT 1", text) for text in wanted)
