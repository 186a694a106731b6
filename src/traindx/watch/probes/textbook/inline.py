"""What a script computes in a line of its own under a name that says what it is, as a function that can be called.

``kld = -0.5 * torch.sum(1 + logvar - mu.pow(2) - logvar.exp())`` inside a training loop is a divergence of ``mu`` and
``logvar`` like any function of that name. The statement, and those before it in its block that its scalars come from,
are compiled into a function of the arrays that they start from. It is used only if it gives again, from what the names
hold, what the script's own name holds.
"""

from __future__ import annotations

import ast
import builtins
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from types import FunctionType
from typing import Any

from traindx.watch.probes.functions.common import as_tensor, number
from traindx.watch.probes.live_calls import function_of
from traindx.watch.probes.recorded import RecordedCall, copied
from traindx.watch.runtime.call_sites import CallSite
from traindx.watch.runtime.syntax import walk

MOST_STATEMENTS = 6  # of one function that is made
_BLOCKS = ("body", "orelse", "finalbody")
_ANY = {"loss", "losses", "cost", "objective", "criterion"}  # names that say nothing of what is computed


@dataclass(frozen=True)
class Scope:
    """A function (or module) of the script's that runs or has run, with what its names hold.

    Attributes:
        file: Where it stands.
        statements: Its body.
        names: Its local names.
        outside: Its global names.
    """

    file: str
    statements: list[ast.stmt]
    names: dict[str, Any]
    outside: dict[str, Any]


def names_given(tree: ast.AST) -> Iterator[str]:
    """Every name, attribute or constant key that a single value is given under, anywhere in a tree."""
    for node in walk(tree):
        if isinstance(node, ast.Assign) and (name := _told(node)):
            yield name
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.Call) and getattr(node.func, "attr", "") == "register_buffer" and node.args:
            yield str(getattr(node.args[0], "value", ""))


def inline_calls(torch: Any, scope: Scope, wanted: Callable[[str], bool]) -> Iterator[RecordedCall]:
    """Assignments to names that are wanted, as calls that were made with what the names hold."""
    for block in _blocks(scope.statements):
        for index, statement in enumerate(block):
            name = _told(statement)
            if name and wanted(name):
                call = _call(torch, scope, block[: index + 1], name)
                if call is not None:
                    yield call


def _target(statement: ast.AST) -> str:
    """The name, or the constant key, that an assignment gives a computed value; "" for anything else."""
    if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
        return ""
    if isinstance(statement.value, ast.Name | ast.Constant | ast.List | ast.Dict | ast.Tuple | ast.Attribute):
        return ""
    target = statement.targets[0]
    if isinstance(target, ast.Name):
        return target.id
    key = target.slice.value if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant) else None
    return key if isinstance(key, str) and key.isidentifier() else ""


def _told(statement: ast.AST) -> str:
    """The same; of a name that may be any loss only where something is divided by something, as an overlap is."""
    name = _target(statement)
    divides = any(isinstance(one, ast.Div) for one in walk(statement)) if name in _ANY else True
    return name if divides else ""


def _blocks(statements: list[ast.stmt]) -> Iterator[list[ast.stmt]]:
    yield statements
    for one in statements:
        if isinstance(one, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            continue
        for name in _BLOCKS:
            inner = getattr(one, name, None)
            if inner:
                yield from _blocks(inner)


def _call(torch: Any, scope: Scope, before: list[ast.stmt], name: str) -> RecordedCall | None:
    last = before[-1]
    assert isinstance(last, ast.Assign)
    taken = _slice(torch, scope, before)
    if taken is None:
        return None
    free = [one for one in _read(taken) if one in scope.names]
    try:
        args = {one: copied(torch, scope.names[one]) for one in free}
        function = _function(scope, taken, free, name)
        learned = {one for one in free if isinstance(held := scope.names[one], torch.Tensor) and held.requires_grad}
        call = RecordedCall(function, args, CallSite(scope.file, last.lineno, name), frozenset(learned), done=True)
        call.result = copied(torch, call.again(torch))
    except Exception:  # it is too large, or whatever the script's lines raise
        return None
    return call if _same(torch, scope, last, call.result) else None


def _slice(torch: Any, scope: Scope, before: list[ast.stmt]) -> list[ast.stmt] | None:
    """The last statement of a block and those before it that its scalars come from; None where it calls a network."""
    taken = [before[-1]]
    for statement in reversed(before[:-1]):
        name = _target(statement)
        value = scope.names.get(name)
        array = as_tensor(torch, value)
        if not name or name not in _read(taken) or (array is not None and array.dim() > 0):
            continue
        if len(taken) == MOST_STATEMENTS:
            return None
        taken.insert(0, statement)
    return None if any(_calls_network(torch, scope, one) for one in taken) else taken


def _read(statements: list[ast.stmt]) -> list[str]:
    """Names that are read before they are given a value, in order."""
    given: set[str] = set()
    free: dict[str, None] = {}
    for one in statements:
        assert isinstance(one, ast.Assign)
        inner = {
            name.id for node in walk(one.value) if isinstance(node, ast.comprehension) for name in _names(node.target)
        }
        for name in _names(one.value):
            if isinstance(name.ctx, ast.Load) and name.id not in given and name.id not in inner:
                free[name.id] = None
        given |= {target.id for target in one.targets if isinstance(target, ast.Name)}
    return list(free)


def _names(node: ast.AST) -> list[ast.Name]:
    return [one for one in walk(node) if isinstance(one, ast.Name)]


def _calls_network(torch: Any, scope: Scope, statement: ast.stmt) -> bool:
    for node in walk(statement):
        if isinstance(node, ast.Await | ast.Yield | ast.YieldFrom | ast.NamedExpr | ast.Lambda):
            return True
        if isinstance(node, ast.Call):
            try:
                value = _value(scope, node.func)
            except Exception:  # whatever a property of the script's raises
                return True
            if isinstance(value, torch.nn.Module) and any(True for _ in value.parameters()):
                return True
            if value is not None and function_of(value) is not None:
                return True  # a function of the script's is tried by its own name, which may say more
    return False


def _value(scope: Scope, node: ast.expr) -> Any:
    """What a dotted name holds; None for anything that has to be computed."""
    if isinstance(node, ast.Name):
        return scope.names.get(node.id, scope.outside.get(node.id, getattr(builtins, node.id, None)))
    if isinstance(node, ast.Attribute):
        owner = _value(scope, node.value)
        return getattr(owner, node.attr, None) if owner is not None else None
    return None


def _function(scope: Scope, taken: list[ast.stmt], free: list[str], name: str) -> FunctionType:
    """A function of the free names that runs the statements and returns what the last one computes."""
    last = taken[-1]
    assert isinstance(last, ast.Assign)
    body = [*taken[:-1], ast.copy_location(ast.Return(last.value), last)]
    names = {**scope.outside, **{one: value for one, value in scope.names.items() if one not in free}}
    return made_function(name, free, body, CallSite(scope.file, last.lineno, name), names)


def made_function(
    name: str, arguments: list[str], body: list[ast.stmt], site: CallSite, outside: dict[str, Any]
) -> FunctionType:
    """A function of some statements, as if it stood at a line of the script."""
    taken = ast.arguments(
        posonlyargs=[], args=[ast.arg(one) for one in arguments], kwonlyargs=[], kw_defaults=[], defaults=[]
    )
    definition = ast.FunctionDef(name=name, args=taken, body=body, decorator_list=[])
    definition.lineno = definition.end_lineno = site.line
    definition.col_offset = definition.end_col_offset = 0
    module = ast.fix_missing_locations(ast.Module(body=[definition], type_ignores=[]))
    names = dict(outside)
    exec(compile(module, site.file, "exec"), names)
    function = names[name]
    assert isinstance(function, FunctionType)
    return function


def _same(torch: Any, scope: Scope, last: ast.Assign, result: Any) -> bool:
    """True if a result is what the script's name holds (a key of a dictionary is not looked up)."""
    target = last.targets[0]
    if not isinstance(target, ast.Name):
        try:
            held = _held(scope, target)
        except Exception:  # a key that is not there any more
            return False
    else:
        held = scope.names.get(target.id)
    a, b = as_tensor(torch, held), as_tensor(torch, result)
    if a is not None and b is not None:
        if a.shape != b.shape:
            return False
        return bool(torch.allclose(a.double().cpu(), b.double(), rtol=1e-3, atol=1e-5, equal_nan=True))
    x, y = number(torch, held), number(torch, result)
    return x is not None and y is not None and abs(x - y) <= 1e-5 + 1e-3 * abs(x)


def _held(scope: Scope, target: ast.expr) -> Any:
    if isinstance(target, ast.Subscript) and isinstance(target.slice, ast.Constant):
        return _value(scope, target.value)[target.slice.value]
    return _value(scope, target)


def any_inline(trees: Iterable[ast.Module], wanted: Callable[[str], bool]) -> bool:
    """True if these sources give a value such a name anywhere."""
    return any(wanted(name) for tree in trees for name in names_given(tree))
