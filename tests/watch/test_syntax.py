"""Nodes of a tree, as the standard library finds them."""

from __future__ import annotations

import ast
import inspect
from types import ModuleType

import pytest

from traindx.watch.reading import names, program, values
from traindx.watch.runtime import syntax, watch

CONTEXTS = (ast.Load, ast.Store, ast.Del)


@pytest.mark.parametrize("module", [names, program, values, watch])
def test_all_nodes_but_contexts_in_the_order_of_the_standard_library(module: ModuleType) -> None:
    tree = ast.parse(inspect.getsource(module))
    for node in (tree, *tree.body):
        wanted = [one for one in ast.walk(node) if not isinstance(one, CONTEXTS)]
        assert list(syntax.walk(node)) == wanted
        below = [one for one in ast.iter_child_nodes(node) if not isinstance(one, CONTEXTS)]
        assert syntax.children(node) == below


def test_what_is_inside_a_scope() -> None:
    tree = ast.parse("a = 1\ndef f(x=b):\n    c\n    class G:\n        d\n    return lambda e: g\nif h: i\n")

    def names_of(scope: ast.AST) -> list[str]:
        return [one.id for one in syntax.inside(scope) if isinstance(one, ast.Name)]

    assert names_of(tree) == ["a", "h", "i"]
    assert names_of(tree.body[1]) == ["b", "c", "g"]


def test_a_deep_tree_needs_no_recursion() -> None:
    tree = ast.parse("a = 0")
    node: ast.expr = ast.Name("x", ast.Load())
    for _ in range(3000):
        node = ast.BinOp(node, ast.Add(), ast.Name("x", ast.Load()))
    tree.body.append(ast.Expr(node))
    assert sum(isinstance(one, ast.Name) for one in syntax.inside(tree)) == 1 + 3001
    assert sum(isinstance(one, ast.Name) for one in syntax.walk(tree)) == 1 + 3001
