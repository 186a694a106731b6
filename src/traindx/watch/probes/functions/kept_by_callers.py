"""Whether a caller reads again what it has given to a function, as far as its source tells."""

from __future__ import annotations

import ast
import inspect
from collections.abc import Iterator

from traindx.watch.probes.recorded import RecordedCall
from traindx.watch.runtime.source_text import parsed
from traindx.watch.runtime.syntax import walk

_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef)
_LOOPS = (ast.For, ast.AsyncFor, ast.While)


def read_again(call: RecordedCall, name: str) -> int:
    """The line that reads an argument after a call of the function; 0 where none does, or that cannot be told.

    -1 stands for a default of the function, which every call reads.
    """
    caller = call.caller
    tree = parsed(caller.file) if caller is not None else None
    if caller is None or tree is None:
        return 0
    scope, made = _call_at(tree, caller.line, call)
    if made is None:
        return 0
    given = _given(call, made, name)
    if given is None:
        return -1 if _is_default(call, made, name) else 0
    text = ast.unparse(given)
    root = next((one.id for one in walk(given) if isinstance(one, ast.Name)), "")
    if not isinstance(given, ast.Name | ast.Attribute) or not root:
        return 0  # made for this call, or a part of something
    return _read_after(scope, made, text, root)


def _call_at(tree: ast.Module, line: int, call: RecordedCall) -> tuple[ast.AST, ast.Call | None]:
    """The innermost function around a line, and the only call there that can be this one."""
    scope: ast.AST = tree
    for node in walk(tree):
        around = isinstance(node, _SCOPES) and node.lineno <= line <= (node.end_lineno or 0)
        if around and (scope is tree or getattr(node, "lineno", 0) >= getattr(scope, "lineno", 0)):
            scope = node
    names = {call.code.co_name}
    fits = [
        node
        for node in walk(scope)
        if isinstance(node, ast.Call)
        and node.lineno <= line <= (node.end_lineno or 0)
        and (node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")) in names
    ]
    return scope, fits[0] if len(fits) == 1 else None


def _given(call: RecordedCall, made: ast.Call, name: str) -> ast.expr | None:
    for keyword in made.keywords:
        if keyword.arg == name:
            return keyword.value
    if any(isinstance(one, ast.Starred) for one in made.args):
        return None
    parameters = [one for one in inspect.signature(call.function).parameters if one not in ("self", "cls")]
    at = parameters.index(name) if name in parameters else len(made.args)
    return made.args[at] if at < len(made.args) else None


def _is_default(call: RecordedCall, made: ast.Call, name: str) -> bool:
    if any(isinstance(one, ast.Starred) for one in made.args) or any(one.arg is None for one in made.keywords):
        return False
    return isinstance(inspect.signature(call.function).parameters[name].default, list | dict)


def _read_after(scope: ast.AST, made: ast.Call, text: str, root: str) -> int:
    end = made.end_lineno or made.lineno
    if any(
        isinstance(one, ast.Assign) and made in walk(one) and root in {getattr(t, "id", "") for t in one.targets}
        for one in walk(scope)
    ):
        return 0  # the name stands for the figure from here on
    nodes = sorted(_uses(scope, text, root), key=lambda one: (one.lineno, one.col_offset))
    for node in nodes:
        if node.lineno <= end:
            continue
        if isinstance(node.ctx, ast.Store):
            break
        if ast.unparse(node) == text:
            return node.lineno
    for loop in walk(scope):
        if isinstance(loop, _LOOPS) and loop.lineno < made.lineno <= (loop.end_lineno or 0):
            anew = any(
                isinstance(one, ast.Name) and one.id == root and isinstance(one.ctx, ast.Store) for one in walk(loop)
            )
            if not anew:
                return made.lineno
    return 0


def _uses(scope: ast.AST, text: str, root: str) -> Iterator[ast.Name | ast.Attribute]:
    for node in walk(scope):
        if isinstance(node, ast.Name):
            if node.id == root:
                yield node
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load) and ast.unparse(node) == text:
            yield node
