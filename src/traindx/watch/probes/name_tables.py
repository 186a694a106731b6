"""Two data sets that number the same names: does each name have one number? In a child only."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from traindx.evidence.observed_items import NamesNumbered
from traindx.watch.probes.live_calls import assigned_in
from traindx.watch.runtime.structure import known_length

DEEP = 4  # data sets inside data sets
MOST = 50_000  # names
LEAST = 2  # that both tables have
TABLES = (
    "class", "label", "index", "idx", "ids", "map", "vocab", "token", "stoi", "code", "encoder", "names", "categor",
    "species", "organ", "site", "finding", "diagnos", "word",
)  # fmt: skip
"""Parts of the names of attributes that hold such a table."""
LISTS = ("class", "label", "vocab", "categor", "organ", "species", "finding", "diagnos")
"""The same for a list of names, each of which has its place as its number."""


def tables_apart(torch: Any, training: Any, other: Any) -> NamesNumbered | None:
    """The first table of the same name that gives a name another number in the one data set than in the other."""
    ours = {name: (owner, table) for name, owner, table in _tables(torch, training)}
    looked = 0
    for name, owner, table in _tables(torch, other):
        if name not in ours or ours[name][1] is table or type(owner) is not type(ours[name][0]):
            continue
        known = ours[name][1]
        common = [key for key in table if key in known]
        apart = sum(table[key] != known[key] for key in common)
        looked += len(common) >= LEAST
        if len(common) >= LEAST and apart:
            site = assigned_in(type(owner), name.rsplit(".", 1)[0])
            return NamesNumbered(
                dataset=type(other).__name__,
                training=type(training).__name__,
                name=name,
                common=len(common),
                apart=apart,
                names=len(table),
                names_in_training=len(known),
                where=site.location() if site is not None else None,
            )
    if looked:
        return NamesNumbered(dataset=type(other).__name__, training=type(training).__name__)
    return None


def _tables(torch: Any, dataset: Any, depth: int = 0) -> Iterator[tuple[str, Any, dict[Any, int]]]:
    """Attributes that number names: a dictionary, a list of names by their number, or an encoder's ``classes_``."""
    if depth > DEEP:
        return
    try:
        fields = object.__getattribute__(dataset, "__dict__")
    except AttributeError:
        return
    for name, value in list(fields.items()):
        if isinstance(value, torch.utils.data.Dataset):
            yield from _tables(torch, value, depth + 1)
            continue
        if not any(part in name.lower() for part in TABLES):
            continue
        if isinstance(value, list | tuple) and (
            len(value) == known_length(dataset) or not any(part in name.lower() for part in LISTS)
        ):
            continue  # names of its items
        inner = getattr(value, "classes_", None)
        label = f"{name}.classes_" if inner is not None else name
        table = _numbered(inner if inner is not None else value)
        if table is not None:
            yield label, dataset, table


def _numbered(value: Any) -> dict[Any, int] | None:
    if type(value).__name__ == "ndarray" and value.ndim == 1 and len(value) <= MOST and value.dtype.kind in "UO":
        value = value.tolist()
    if isinstance(value, dict) and LEAST <= len(value) <= MOST:
        whole = all(type(one) is int for one in value.values()) and all(isinstance(key, str) for key in value)
        numbers = set(value.values())
        # Numbers of names are different ones from 0 or 1 on; counts, ages and sizes are not.
        if whole and len(numbers) == len(value) and max(numbers) <= len(value) + 4 and min(numbers) in (0, 1, 2, 3, 4):
            return dict(value)
        return None
    if isinstance(value, list | tuple) and LEAST <= len(value) <= MOST and all(isinstance(one, str) for one in value):
        return {one: at for at, one in enumerate(value)} if len(set(value)) == len(value) else None
    return None
