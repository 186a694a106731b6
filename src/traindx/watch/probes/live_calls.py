"""Calls of the user's own functions that the script's live frames make: read from their source, with the names bound.

A training loop that runs has, on its stack, the lines that built its data, its anchors and its masks, and those that
will validate. Whatever such a line calls can be called again, in a child process, with what its names hold now.
"""

from __future__ import annotations

import ast
import builtins
import functools
import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from types import CodeType, FrameType, FunctionType, MethodType
from typing import Any

from traindx.watch.runtime.call_sites import CallSite, users
from traindx.watch.runtime.source_text import parsed
from traindx.watch.runtime.syntax import children, walk

LONGEST_NAME = 200
_COMPREHENSIONS = (ast.ListComp, ast.SetComp, ast.DictComp, ast.GeneratorExp)
_SCOPES = (ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda)


@dataclass(frozen=True)
class LiveCall:
    """An expression of the script's that calls a function of the user's.

    Attributes:
        file: Where it stands.
        line: Its line.
        expression: The expression, compiled.
        names: What its names hold.
    """

    file: str
    line: int
    expression: CodeType
    names: dict[str, Any]


def names_in_code(code: CodeType) -> Iterator[str]:
    """Names that code asks for, those inside of its comprehensions and functions, too."""
    yield from code.co_names
    for one in code.co_consts:
        if isinstance(one, CodeType):
            yield from names_in_code(one)


def function_of(value: Any) -> FunctionType | None:
    """The function of the user's that calling something runs first; None for anything of a library's."""
    if isinstance(value, functools.partial):
        value = value.func
    if isinstance(value, type):
        value = inspect.getattr_static(value, "__init__", None)
    elif not isinstance(value, FunctionType | MethodType) and callable(value):
        kind = type(value)
        value = inspect.getattr_static(kind, "forward", None) or inspect.getattr_static(kind, "__call__", None)
    if isinstance(value, MethodType):
        value = value.__func__
    while isinstance(value, FunctionType) and not users(value.__code__.co_filename):
        value = getattr(value, "__wrapped__", None)  # ``torch.no_grad`` as a decorator
    return value if isinstance(value, FunctionType) else None


def live_calls(frame: FrameType | None) -> Iterator[LiveCall]:
    """Calls in the source of every user frame from here outwards; of what runs already none is made again."""
    frames: list[FrameType] = []
    while frame is not None:
        if users(frame.f_code.co_filename) and not frame.f_code.co_name.startswith("<listcomp"):
            frames.append(frame)
        frame = frame.f_back
    running = {one.f_code for one in frames}
    for one in frames:
        scope = scope_of(one.f_code)
        if scope is None:
            continue
        names = {**one.f_globals, **one.f_locals}
        yield from _calls_in(scope, one.f_code.co_filename, names, running)


def scope_of(code: CodeType) -> list[ast.stmt] | None:
    """The statements of the function (or module) that a code object was compiled from."""
    tree = parsed(code.co_filename)
    if tree is None:
        return None
    if code.co_name == "<module>":
        return tree.body
    node = definition_of(code)
    return node.body if node is not None else None


def definition_of(code: CodeType) -> ast.FunctionDef | ast.AsyncFunctionDef | None:
    """The definition that a code object was compiled from."""
    tree = parsed(code.co_filename)
    for node in walk(tree) if tree is not None else ():
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and node.name == code.co_name:
            first = min([node.lineno, *(one.lineno for one in node.decorator_list)])
            if first == code.co_firstlineno:
                return node
    return None


def _calls_in(
    statements: list[ast.stmt], file: str, names: dict[str, Any], running: set[CodeType]
) -> Iterator[LiveCall]:
    for node in _expressions(statements, names, running):
        bound = {name.id for name in walk(node) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Load)}
        made = {name.id for name in walk(node) if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)}
        if any(isinstance(one, ast.Await | ast.Yield | ast.YieldFrom | ast.NamedExpr) for one in walk(node)):
            continue
        if any(name not in names and not hasattr(builtins, name) for name in bound - made):
            continue
        expression = ast.Expression(body=node)
        yield LiveCall(file, node.lineno, compile(expression, file, "eval"), names)


def _expressions(statements: list[ast.stmt], names: dict[str, Any], running: set[CodeType]) -> Iterator[ast.expr]:
    """The largest expressions that are calls of the user's functions, or comprehensions over such."""

    def visit(node: ast.AST) -> Iterator[ast.expr]:
        if isinstance(node, _SCOPES):
            return
        if isinstance(node, ast.Call) and _is_users(node.func, names, running):
            yield node
            return
        if isinstance(node, _COMPREHENSIONS):
            inner = [one for one in walk(node) if isinstance(one, ast.Call)]
            if any(_is_users(one.func, names, running) for one in inner):
                yield ast.copy_location(_as_list(node), node)
                return
        for child in children(node):
            yield from visit(child)

    for statement in statements:
        yield from visit(statement)


def _as_list(node: ast.expr) -> ast.expr:
    if isinstance(node, ast.GeneratorExp):
        return ast.copy_location(ast.ListComp(elt=node.elt, generators=node.generators), node)
    return node


def _is_users(node: ast.expr, names: dict[str, Any], running: set[CodeType]) -> bool:
    """True if what is called is a function of the user's that does not run already."""
    try:
        function = function_of(_called(node, names))
    except Exception:  # whatever a property of the script's raises
        return False
    return function is not None and function.__code__ not in running


def _called(node: ast.expr, names: dict[str, Any]) -> Any:
    """What an expression stands for, as far as nothing has to be called: a method of what a class makes is known."""
    chain: list[str] = []
    while isinstance(node, ast.Attribute):
        chain.insert(0, node.attr)
        node = node.value
    if isinstance(node, ast.Call) and chain:
        made = _called(node.func, names)
        return inspect.getattr_static(made, chain[0], None) if isinstance(made, type) and len(chain) == 1 else None
    value = names.get(node.id) if isinstance(node, ast.Name) else None
    for name in chain:
        value = getattr(value, name)
    return value


def assigned_in(kind: type, name: str) -> CallSite | None:
    """The first line of a class of the script's that gives an attribute its value; None where there is none."""
    for base in kind.__mro__:
        for function in vars(base).values():
            code = getattr(function, "__code__", None)
            node = definition_of(code) if code is not None else None
            for one in walk(node) if node is not None else ():
                if isinstance(one, ast.stmt) and code is not None and _sets(one, name):
                    return CallSite(code.co_filename, one.lineno, code.co_qualname)
    return None


def _sets(node: ast.stmt, name: str) -> bool:
    if isinstance(node, ast.Assign):
        return any(_is_own(target, name) for target in node.targets)
    if isinstance(node, ast.AnnAssign):
        return _is_own(node.target, name)
    call = node.value if isinstance(node, ast.Expr) else None  # self.register_buffer("name", ..., persistent=False)
    first = call.args[0] if isinstance(call, ast.Call) and call.args else None
    return isinstance(first, ast.Constant) and first.value == name


def _is_own(target: ast.expr, name: str) -> bool:
    if isinstance(target, ast.Tuple):
        return any(_is_own(one, name) for one in target.elts)
    return isinstance(target, ast.Attribute) and target.attr == name and isinstance(target.value, ast.Name)
