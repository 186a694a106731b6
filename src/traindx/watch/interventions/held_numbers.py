"""Numbers that a program holds under a name before it has trained: its configuration, however it came by it.

A figure that the program held already before its first iteration, and that never was another, is no quality of what it
trained. Looked for in the variables of the frames that lead to the first step, and a little into what these hold:
mappings, namespaces and objects of the user's own classes.
"""

from __future__ import annotations

import sys
from types import FrameType, ModuleType
from typing import Any

from traindx.core.metric_names import words
from traindx.watch.runtime.call_sites import users

MOST = 4000  # numbers
DEPTH = 4  # of what variables hold
MOST_ENTRIES = 200  # of one mapping or object


def numbers_held(start: FrameType | None = None) -> dict[str, list[float]]:
    """Numbers by the words of their names, from all frames of user code at or above one (the caller's by default)."""
    found: dict[str, list[float]] = {}
    seen: set[int] = set()
    frame: FrameType | None = start if start is not None else sys._getframe(1)
    spaces: list[dict[str, Any]] = []
    while frame is not None:
        if users(frame.f_code.co_filename):
            spaces += [frame.f_locals, frame.f_globals]
        frame = frame.f_back
    for space in spaces:
        if id(space) not in seen:
            seen.add(id(space))
            _collect(dict(space), found, seen, DEPTH)
    return found


def _collect(fields: dict[Any, Any], found: dict[str, list[float]], seen: set[int], depth: int) -> None:
    for key, value in list(fields.items())[:MOST_ENTRIES]:
        if len(found) >= MOST:
            return
        name = str(key)
        if name.startswith("__"):
            continue
        if isinstance(value, int | float) and not isinstance(value, bool):
            known = found.setdefault(" ".join(words(name)), [])
            if float(value) not in known and len(known) < MOST_ENTRIES:
                known.append(float(value))
        elif depth and id(value) not in seen:
            inner = _fields_of(value)
            if inner:
                seen.add(id(value))
                _collect(inner, found, seen, depth - 1)


def _fields_of(value: Any) -> dict[Any, Any]:
    """What a mapping, a namespace or an object holds; nothing of modules, tensors and library objects."""
    if isinstance(value, dict):
        return value
    if isinstance(value, ModuleType | type):
        return {}
    kind = type(value)
    module = sys.modules.get(kind.__module__)
    file = getattr(module, "__file__", None)
    named = kind.__name__ in ("Namespace", "SimpleNamespace", "DictConfig", "AttrDict", "EasyDict", "Munch", "CfgNode")
    if not named and not (isinstance(file, str) and users(file)) and kind.__module__ != "__main__":
        return {}
    if kind.__name__ == "DictConfig":
        return dict(getattr(value, "_content", None) or {})
    fields = getattr(value, "__dict__", None)
    return dict(fields) if isinstance(fields, dict) else {}
