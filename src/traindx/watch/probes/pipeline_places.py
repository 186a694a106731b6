"""Which step of two pipelines differs, and where the script makes it: by the objects that two data sets hold.

A step (``Normalize``) that both have with other numbers, or that one has and the other has not. The line is found in
the sources: the call of that class with those numbers, or the list of steps in which it is not.
"""

from __future__ import annotations

import ast
from collections.abc import Iterator
from typing import Any

from traindx.watch.probes.kept_state import numbers_of
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.source_trees import own_sources
from traindx.watch.runtime.syntax import walk

DEEP = 6
MOST = 200  # objects
LONGEST = 32  # steps of a list
Difference = tuple[str, str, str, CallSite]
"""What differs, its numbers in the evaluation and in the training, and the line of the evaluation's."""


def step_that_differs(training: Any, other: Any) -> Difference | None:
    """The first step in the order of the pipelines; None where none differs, or no line makes it."""
    ours, theirs = list(_steps(training)), list(_steps(other))
    known = {name for name, _ in ours}
    for name, fields in theirs:
        if name not in known or (name, fields) in ours:
            continue
        twin = next(values for one, values in ours if one == name)
        for field, numbers in fields.items():
            if twin.get(field) not in (None, numbers):
                line = _made_with(name, numbers)
                if line is not None:
                    return f"{field} of {name}", _short(numbers), _short(twin[field]), line
    present = {name for name, _ in theirs}
    for name, fields in ours:
        if name not in present and any(fields.values()):
            line = _list_without(name, present)
            if line is not None:
                return f"{name}", "left out", "there", line
    return None


def _steps(owner: Any) -> Iterator[tuple[str, dict[str, list[float]]]]:
    """Objects within reach that hold numbers, by class, in the order in which they are kept."""
    waiting: list[tuple[Any, int]] = [(owner, 0)]
    known: set[int] = set()
    while waiting and len(known) < MOST:
        value, depth = waiting.pop(0)
        if id(value) in known or depth > DEEP or value is None or isinstance(value, str | int | float | type):
            continue
        known.add(id(value))
        if isinstance(value, list | tuple):
            waiting[:0] = [(one, depth + 1) for one in value] if len(value) <= LONGEST else []
            continue
        try:
            fields = object.__getattribute__(value, "__dict__")
        except AttributeError:
            continue
        inner = list(fields.items())
        if depth:  # the data set itself is no step
            found = {name: numbers for name, one in inner if (numbers := numbers_of(one)) is not None}
            yield type(value).__name__, found
        waiting += [(one, depth + 1) for _, one in inner]


def _calls(tree: ast.AST, name: str) -> Iterator[ast.Call]:
    for node in walk(tree):
        if isinstance(node, ast.Call):
            called = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
            if called == name:
                yield node


def _made_with(name: str, numbers: list[float]) -> CallSite | None:
    """The one call of a class that is given these numbers as they are."""
    found: list[CallSite] = []
    for file, tree in own_sources().items():
        for call in _calls(tree, name):
            for given in (*call.args, *(word.value for word in call.keywords)):
                try:
                    value = numbers_of(ast.literal_eval(given))
                except ValueError:
                    continue
                if value is not None and value == numbers[: len(value)] and len(value) in (1, len(numbers)):
                    found.append(CallSite(file, call.lineno, name))
                    break
    return found[0] if len(found) == 1 else None


def _list_without(name: str, present: set[str]) -> CallSite | None:
    """The one statement that makes two or more of the steps that are there, and not the one that is not."""
    found: list[CallSite] = []
    for file, tree in own_sources().items():
        for node in walk(tree):
            if not isinstance(node, ast.Assign | ast.Return):
                continue
            made = [one for one in present if any(True for _ in _calls(node, one))]
            if made and any(True for _ in _calls(node, "Compose")) and not any(True for _ in _calls(node, name)):
                found.append(CallSite(file, node.lineno, ""))
    return found[0] if len(found) == 1 else None


def _short(numbers: list[float]) -> str:
    return ", ".join(f"{one:g}" for one in numbers[:4])
