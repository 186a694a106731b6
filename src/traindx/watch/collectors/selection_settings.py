"""Objects that name a figure to select by and say in which direction it improves: do the two agree?

``metric_for_best_model`` with ``greater_is_better`` of the Hugging Face arguments, ``monitor`` with ``mode`` of a
callback or a configuration. What acts is read from the objects when a summary is written, as the direction is often
derived (from the name, by a list that does not hold it).
"""

from __future__ import annotations

import ast
import sys
from collections.abc import Iterable, Iterator
from typing import Any

from traindx.core.frames import shown_path
from traindx.evidence.base import Record
from traindx.evidence.observed_calls import KeptFigure
from traindx.finding import Location
from traindx.watch.collectors.statements import better
from traindx.watch.runtime.source_trees import own_sources
from traindx.watch.runtime.syntax import walk
from traindx.watch.runtime.watch import Collector

FIGURES = (
    "metric_for_best_model",
    "monitor",
    "monitor_metric",
    "metric_to_monitor",
    "best_metric_name",
    "early_stop_metric",
)
HIGHER = ("greater_is_better", "higher_is_better", "bigger_is_better", "maximize")
LOWER = ("lower_is_better", "smaller_is_better", "minimize")
MODES = ("mode", "monitor_mode", "metric_mode")
DEPTH = 3  # from the script's variables: an object, its arguments, a part of them
MOST_OBJECTS = 2000


class SelectionSettings(Collector):
    """Looks through what the script's variables hold, without running code of any class."""

    subject = "settings that name a figure and its direction"

    def records(self) -> Iterable[Record]:
        """One record an object that names both."""
        main = sys.modules.get("__main__")
        seen: set[tuple[str, str, str]] = set()
        for fields in _mappings(vars(main) if main is not None else {}):
            for figure, key, kept in _named(fields):
                if (figure, key, kept) not in seen:
                    seen.add((figure, key, kept))
                    yield KeptFigure(
                        figure=figure,
                        keeps=kept,
                        better=better(figure),
                        by=f"{key} = {fields[key]!r}",
                        where=_set_at(key),
                        step=self.watch.iteration,
                    )


def _mappings(variables: dict[str, Any]) -> Iterator[dict[str, Any]]:
    """The fields of objects and the mappings that can be reached in a few steps from the script's variables."""
    waiting: list[tuple[Any, int]] = [(value, 0) for name, value in variables.items() if not name.startswith("__")]
    seen: set[int] = set()
    while waiting and len(seen) < MOST_OBJECTS:
        value, depth = waiting.pop()
        plain = type(value) in (dict, list, tuple)
        foreign = isinstance(value, type) or type(value).__module__ in ("builtins", "torch", "numpy")
        if id(value) in seen or (foreign and not plain):
            continue
        seen.add(id(value))
        if type(value) in (list, tuple):
            inner = list(value[:32])
        else:
            try:
                fields = value if type(value) is dict else object.__getattribute__(value, "__dict__")
            except AttributeError:
                continue
            if type(fields) is not dict:
                continue
            fields = {name: one for name, one in list(fields.items())[:256] if isinstance(name, str)}
            yield fields
            inner = list(fields.values())
        if depth < DEPTH:
            waiting.extend((one, depth + 1) for one in inner)


def _named(fields: dict[str, Any]) -> Iterator[tuple[str, str, str]]:
    """Figure, key of the direction and what it keeps."""
    for name in FIGURES:
        figure = fields.get(name)
        if not isinstance(figure, str):
            continue
        for key in (*HIGHER, *LOWER, *MODES):
            kept = _keeps(key, fields.get(key))
            if kept:
                yield figure, key, kept


def _keeps(key: str, value: Any) -> str:
    """``lower`` or ``higher``; "" for a value that says neither."""
    if key in MODES:
        return {"max": "higher", "min": "lower"}.get(value, "") if type(value) is str else ""
    return ("higher" if value is (key in HIGHER) else "lower") if type(value) is bool else ""


def _set_at(key: str) -> Location | None:
    """The last place of the sources that sets a field of that name, other than to None."""
    found = None
    for file, tree in own_sources().items():
        for node in walk(tree):
            line = 0
            if isinstance(node, ast.Assign | ast.AnnAssign):
                targets = node.targets if isinstance(node, ast.Assign) else [node.target]
                named = any(getattr(one, "attr", getattr(one, "id", "")) == key for one in targets)
                empty = node.value is None or (isinstance(node.value, ast.Constant) and node.value.value is None)
                line = node.lineno if named and not empty else 0
            elif isinstance(node, ast.keyword) and node.arg == key:
                line = node.value.lineno
            elif isinstance(node, ast.Dict):
                line = next((one.lineno for one in node.keys if isinstance(one, ast.Constant) and one.value == key), 0)
            if line:
                found = Location(file=shown_path(file), line=line)
    return found
