"""Functions that give labels other numbers: is it one map, and the one that the function's own table says?"""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator
from typing import Any

from traindx.evidence.base import Record
from traindx.evidence.probed_functions import LabelMapTried
from traindx.watch.probes.functions.common import as_tensor, parts_of
from traindx.watch.probes.live_calls import definition_of
from traindx.watch.probes.recorded import RecordedCall
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.syntax import walk

LEAST_PIXELS = 64
MOST_VALUES = 24  # classes, and not intensities or numbers of instances


def tried(torch: Any, calls: list[RecordedCall]) -> Iterator[Record]:
    """Every function that turned maps of few whole numbers into maps of few whole numbers."""
    by_code: dict[Any, list[RecordedCall]] = {}
    for call in calls:
        by_code.setdefault(call.code, []).append(call)
    for group in by_code.values():
        tables = [table for call in group for table in _tables(torch, call)]
        if tables:
            yield _record(group[0], tables)


def _tables(torch: Any, call: RecordedCall) -> Iterator[dict[float, float]]:
    """What every value became, for each map among the arguments that has a partner in the result."""
    given = {f"{path}": one for name, value in call.args.items() if name != "self" for path, one in parts_of(value)}
    results = list(parts_of(call.result))
    for path, result in results:
        after = _labels(torch, result)
        if after is None:
            continue
        befores = [given[path]] if path in given else list(given.values())
        for value in befores:
            before = _labels(torch, value)
            if before is None or before.shape != after.shape:
                continue
            table = _table(before, after)
            if table is not None:
                yield table
            break


def _labels(torch: Any, value: Any) -> Any | None:
    tensor = as_tensor(torch, value)
    if tensor is None or tensor.is_complex() or tensor.dtype == torch.bool or tensor.dim() < 2:
        return None
    if tensor.numel() < LEAST_PIXELS or not bool((tensor == tensor.round()).all()):
        return None
    return tensor if 1 <= len(tensor.unique()) <= MOST_VALUES else None


def _table(before: Any, after: Any) -> dict[float, float] | None:
    """The value that each value became; None where one value became several."""
    table: dict[float, float] = {}
    for value in before.unique().tolist():
        became = after[before == value].unique().tolist()
        if len(became) != 1:
            return None
        table[float(value)] = float(became[0])
    return table


def _record(call: RecordedCall, tables: list[dict[float, float]]) -> Record:
    conflict: tuple[float, ...] = ()
    seen: dict[float, float] = {}
    for table in tables:
        for value, became in table.items():
            first = seen.setdefault(value, became)
            if first != became and 0 not in (first, became) and not conflict:  # 0: what is small may be removed
                conflict = (value, first, became)
    wrong: tuple[float, ...] = ()
    declared = merged = 0
    for replacements in _declared(call):
        common = [value for value in seen if value in replacements]
        if len(common) < 2:
            continue
        declared = len(replacements)
        differ = [value for value in common if seen[value] != replacements[value]]
        agree = len(common) - len(differ)
        chained = [value for value in differ if seen[value] == _chain(replacements, value)]
        renumbers = any(value != became for value, became in seen.items())
        if differ and renumbers and (agree or chained):
            wrong = (differ[0], replacements[differ[0]], seen[differ[0]])
            merged = len({replacements[value] for value in common}) - len({seen[value] for value in common})
    return LabelMapTried(
        function=call.shown,
        maps=len(tables),
        values=len(seen),
        conflict=conflict,
        declared=declared,
        wrong=wrong,
        merged=max(0, merged),
        where=_replaces_at(call).location(),
    )


def _chain(replacements: dict[float, float], value: float) -> float:
    """What becomes of a value if the table is gone through from its first entry to its last, in place."""
    for old, new in replacements.items():
        if value == old:
            value = new
    return value


def _declared(call: RecordedCall) -> Iterator[dict[float, float]]:
    """Tables of numbers that the function has: arguments, fields of its object, names of its module that it uses."""
    owner = call.args.get("self")
    places: list[Any] = [value for name, value in call.args.items() if name != "self"]
    if owner is not None:
        fields = getattr(owner, "__dict__", {})
        places += [fields[name] for name in call.code.co_names if name in fields]
    closure = inspect.getclosurevars(call.function)
    places += [*closure.globals.values(), *closure.nonlocals.values()]
    for value in places:
        if isinstance(value, dict) and 2 <= len(value) <= MOST_VALUES:
            both = [*value.keys(), *value.values()]
            if all(isinstance(one, int | float) and not isinstance(one, bool) for one in both):
                yield {float(old): float(new) for old, new in value.items()}


def _replaces_at(call: RecordedCall) -> CallSite:
    """The line that assigns to selected places of an array; the first line of the function where there is none."""
    node = definition_of(call.code)
    return call.at(next(_replacing(node), None) if node is not None else None)


def _replacing(node: ast.AST) -> Iterator[int]:
    """Lines of ``labels[labels == value] = other``."""
    for one in walk(node):
        target = one.targets[0] if isinstance(one, ast.Assign) else None
        if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Compare):
            yield target.lineno


def relevant(node: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """True if a function could be one of these, as far as its source tells."""
    return any(True for _ in _replacing(node))
