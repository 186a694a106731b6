"""Which way a figure goes, as the line that prints it computes it: ``val {F.mse_loss(net(x), y):.4f}`` is an error.

Read where neither the name of a figure nor a test with fixed outputs tells. What stands before an expression in a
print, a log message or an f-string is its name; the functions that the expression calls, or that the variable in it
was assigned from, say what it is.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Collection, Iterator, Sequence
from pathlib import Path

from traindx.core.metric_names import direction_of, words
from traindx.watch.reading.program import Program, name_of, names_in
from traindx.watch.reading.shown_text import pieces
from traindx.watch.runtime.syntax import inside

LARGEST = 1_000_000  # characters of a file that is read
_PLACES = re.compile(r"%[-+#0\d.]*[a-zA-Z]|\{[^{}]*\}")  # where a message puts its arguments


def directions_in(files: Sequence[str], names: Collection[str]) -> dict[str, bool]:
    """By name, True if a higher value is better; what the sources leave open or contradict is left out.

    Args:
        files: Source files of the script; those that cannot be read are passed over.
        names: Figures as the script prints them.
    """
    program = Program(dict(_trees(files)))
    said: dict[str, set[bool]] = {}
    for _, _, scope in program.scopes():
        for node in inside(scope):
            shown = node.args if isinstance(node, ast.Call) else [node] if isinstance(node, ast.JoinedStr) else []
            for label, value in pieces(shown):
                for name in names:
                    if _is_named(label, name):
                        said.setdefault(name, set()).update(_ways(value, inside(scope)))
    return {name: ways.pop() for name, ways in said.items() if len(ways) == 1}


def _trees(files: Sequence[str]) -> Iterator[tuple[str, ast.Module]]:
    for file in files:
        try:
            text = Path(file).read_text(encoding="utf-8")
            if len(text) <= LARGEST:
                yield file, ast.parse(text)
        except (OSError, SyntaxError, ValueError):
            continue


def _is_named(label: str, name: str) -> bool:
    if len(_PLACES.findall(label)) > 1:
        return False  # which of several it is stands further behind
    found, wanted = words(re.sub(r"[^\w\s]+$", "", _PLACES.sub("", label).strip())), words(name)
    return bool(wanted) and found[-len(wanted) :] == wanted


def _ways(value: ast.expr, inside: Sequence[ast.AST]) -> set[bool]:
    ways = {way for text in _functions(value) if (way := direction_of(text)) is not None}
    if ways:
        return ways
    variables = names_in(value)
    assigned = [
        node.value
        for node in inside
        if isinstance(node, ast.Assign)
        and any(isinstance(target, ast.Name) and target.id in variables for target in node.targets)
    ]
    return {way for one in assigned for text in _functions(one) if (way := direction_of(text)) is not None}


def _functions(value: ast.expr) -> Iterator[str]:
    """Names of the functions that an expression calls."""
    return (name_of(one.func) for one in ast.walk(value) if isinstance(one, ast.Call))
