"""Which way a figure goes, as the line that prints it computes it: ``val {F.mse_loss(net(x), y):.4f}`` is an error.

Read where neither the name of a figure nor a test with fixed outputs tells. What stands before an expression in a
print, a log message or an f-string is its name; the functions that the expression calls, or that the variable in it
was assigned from, say what it is.
"""

from __future__ import annotations

import ast
import itertools
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from traindx.core.metric_names import direction_of, words

LARGEST = 1_000_000  # characters of a file that is read
_PLACES = re.compile(r"%[-+#0\d.]*[a-zA-Z]|\{[^{}]*\}")  # where a message puts its arguments
Scope = ast.Module | ast.FunctionDef | ast.AsyncFunctionDef


def directions_in(files: Sequence[str], names: Collection[str]) -> dict[str, bool]:
    """By name, True if a higher value is better; what the sources leave open or contradict is left out.

    Args:
        files: Source files of the script; those that cannot be read are passed over.
        names: Figures as the script prints them.
    """
    said: dict[str, set[bool]] = {}
    for file in files:
        for scope in _scopes(file):
            for label, value in _labelled(scope):
                for name in names:
                    if _is_named(label, name):
                        said.setdefault(name, set()).update(_ways(value, scope))
    return {name: ways.pop() for name, ways in said.items() if len(ways) == 1}


def _scopes(file: str) -> Iterator[Scope]:
    try:
        text = Path(file).read_text(encoding="utf-8")
        tree = ast.parse(text) if len(text) <= LARGEST else ast.Module([], [])
    except (OSError, SyntaxError, ValueError):
        return
    yield from (one for one in ast.walk(tree) if isinstance(one, Scope))


def _own(scope: Scope) -> Iterator[ast.AST]:
    """Nodes of a scope without those of functions in it."""
    waiting: list[ast.AST] = list(scope.body)
    while waiting:
        node = waiting.pop()
        yield node
        if not isinstance(node, Scope | ast.ClassDef | ast.Lambda):
            waiting += ast.iter_child_nodes(node)


def _labelled(scope: Scope) -> Iterator[tuple[str, ast.expr]]:
    """Every expression with the text that stands before it in one output."""
    for node in _own(scope):
        pieces: Sequence[ast.expr] = ()
        if isinstance(node, ast.Call):
            pieces = node.args
        elif isinstance(node, ast.JoinedStr):
            pieces = node.values
        for before, after in itertools.pairwise(pieces):
            if isinstance(before, ast.Constant) and isinstance(before.value, str):
                value = after.value if isinstance(after, ast.FormattedValue) else after
                if not isinstance(value, ast.Constant):
                    yield before.value, value


def _is_named(label: str, name: str) -> bool:
    if len(_PLACES.findall(label)) > 1:
        return False  # which of several it is stands further behind
    found, wanted = words(re.sub(r"[^\w\s]+$", "", _PLACES.sub("", label).strip())), words(name)
    return bool(wanted) and found[-len(wanted) :] == wanted


def _ways(value: ast.expr, scope: Scope) -> set[bool]:
    ways = {way for text in _functions(value) if (way := direction_of(text)) is not None}
    if ways:
        return ways
    variables = {one.id for one in ast.walk(value) if isinstance(one, ast.Name)}
    assigned = [
        node.value
        for node in _own(scope)
        if isinstance(node, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id in variables for target in node.targets)
    ]
    return {way for one in assigned for text in _functions(one) if (way := direction_of(text)) is not None}


def _functions(value: ast.expr) -> Iterator[str]:
    """Names of the functions that an expression calls."""
    for one in ast.walk(value):
        if isinstance(one, ast.Call):
            if isinstance(one.func, ast.Attribute):
                yield one.func.attr
            elif isinstance(one.func, ast.Name):
                yield one.func.id
