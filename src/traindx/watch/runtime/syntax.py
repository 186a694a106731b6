"""The nodes of a syntax tree, found once: some eighty readers ask the same trees for all they hold."""

from __future__ import annotations

import ast
from functools import lru_cache

KEPT = 8192  # nodes whose answers are kept; together those of one program, and what it was an hour ago is let go


@lru_cache(maxsize=KEPT)
def walk(node: ast.AST) -> tuple[ast.AST, ...]:
    """A node and all below it, a level after the other, as :func:`ast.walk` gives them, less the contexts of names.

    The answer is kept: ask it of nothing that is changed in place afterwards.
    """
    found = [node]
    for one in found:
        found.extend(children(one))
    return tuple(found)


def children(node: ast.AST) -> list[ast.AST]:
    """Nodes right below one, as :func:`ast.iter_child_nodes` gives them, less ``Load``, ``Store`` and ``Del``."""
    found: list[ast.AST] = []
    names: tuple[str, ...] = type(node).__match_args__  # the fields, in their order
    for name in names:
        if name != "ctx":
            value = getattr(node, name, None)
            if isinstance(value, ast.AST):
                found.append(value)
            elif isinstance(value, list):
                found += [one for one in value if isinstance(one, ast.AST)]
    return found


@lru_cache(maxsize=KEPT)
def inside(scope: ast.AST) -> tuple[ast.AST, ...]:
    """Nodes of a scope in order, those of functions and classes inside it left out (lambdas belong to it)."""
    found: list[ast.AST] = []
    todo = children(scope)[::-1]
    while todo:
        one = todo.pop()
        found.append(one)
        if not isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            todo.extend(reversed(children(one)))
    return tuple(found)
