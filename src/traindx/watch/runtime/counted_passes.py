"""What a script calls an accumulation of gradients, what its steps wait for, and what it divides by that number."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from traindx.watch.runtime.planned import value_of
from traindx.watch.runtime.source_text import parsed
from traindx.watch.runtime.source_trees import own_sources
from traindx.watch.runtime.syntax import walk

NAMED = re.compile(r"accum|micro_?batch|virtual_batch|sub_?batch|iter_size|subdivision|grad(ient)?_?acc", re.IGNORECASE)
RATE = re.compile(r"(^|_)(lr|rate|eta|alpha|scale|factor|weight|grad)(_|$|s$)", re.IGNORECASE)
FIGURE = re.compile(
    r"loss|total|running|sum|mean|avg|dice|score|metric|correct|hits|err|iou|num|count|batch|size|step|iter|sample",
    re.IGNORECASE,
)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef)


@lru_cache(maxsize=256)
def counts_in(file: str, first: int) -> tuple[tuple[tuple[str, ast.expr], ...], tuple[tuple[str, ast.expr], ...]]:
    """What a function (of a first line) reads that is called an accumulation, and what its steps wait for."""
    tree = parsed(file)
    scope: ast.AST | None = tree
    if first and tree is not None:
        scope = next(
            (
                node
                for node in walk(tree)
                if isinstance(node, _SCOPES) and first in (node.lineno, *(one.lineno for one in node.decorator_list))
            ),
            None,
        )
    if scope is None:
        return (), ()
    named, tested = {}, {}
    for node in walk(scope):
        if isinstance(node, ast.Name | ast.Attribute | ast.Subscript) and NAMED.search(last_name(node)):
            named[ast.unparse(node)] = node
        elif isinstance(node, ast.If) and any(_steps(one) for one in node.body):
            for part in walk(node.test):
                if isinstance(part, ast.BinOp) and isinstance(part.op, ast.Mod):
                    tested[ast.unparse(part.right)] = part.right
    return tuple(named.items()), tuple(tested.items())


def _steps(statement: ast.stmt) -> bool:
    return any(isinstance(node, ast.Attribute) and node.attr == "step" for node in walk(statement))


def last_name(node: ast.AST) -> str:
    """``steps`` of ``self.cfg.steps`` and ``cfg["steps"]``."""
    if isinstance(node, ast.Subscript):
        return str(node.slice.value) if isinstance(node.slice, ast.Constant) else ""
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def number_of(node: ast.expr, names: dict[str, Any]) -> int | None:
    """A whole number above 1 that an expression stands for, without running any code of the script's."""
    try:
        value = value_of(node, names)
    except Exception:  # whatever it is, it is no plain number
        return None
    return value if type(value) is int and value > 1 else None


def compensated(counted: str, passes: int) -> bool:
    """Some line divides by the number of passes and it is no figure: the rate, perhaps, or gradients by hand.

    True as well where the sources are too many to be read.
    """
    trees = own_sources()
    ident = re.split(r"\W+", counted.strip("\"'])"))[-1] if counted else ""
    return not trees or any(_compensates(tree, ident, passes) for tree in trees.values())


def _compensates(tree: ast.Module, ident: str, passes: int) -> bool:
    for left, right in _quotients(tree):
        names = {last_name(node) for node in walk(right)} - {""}
        if any(NAMED.search(one) or one == ident for one in names) and not _is_figure(left):
            return True
    rates = (
        node.value
        for node in walk(tree)
        if (isinstance(node, ast.keyword) and RATE.search(node.arg or ""))
        or (isinstance(node, ast.Assign) and any(RATE.search(last_name(one)) for one in node.targets))
    )
    return any(
        isinstance(part, ast.Constant) and part.value == passes
        for rate in rates
        for _, right in _quotients(rate)
        for part in walk(right)
    )


def _quotients(tree: ast.AST) -> Iterator[tuple[ast.expr, ast.expr]]:
    for node in walk(tree):
        if isinstance(node, ast.BinOp | ast.AugAssign) and isinstance(node.op, ast.Div):
            if isinstance(node, ast.BinOp):
                yield node.left, node.right
            else:
                yield node.target, node.value


def _is_figure(left: ast.expr) -> bool:
    """A value that is shown, or a number of batches: nothing that a step follows."""
    names = [last_name(node) for node in walk(left)]
    calls = {last_name(node.func) for node in walk(left) if isinstance(node, ast.Call)}
    if any(RATE.search(one) for one in names):
        return False
    return bool(calls & {"item", "float", "len", "sum"}) or any(FIGURE.search(one) for one in names)
