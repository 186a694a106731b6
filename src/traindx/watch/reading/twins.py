"""Functions that belong together and disagree: training and validation, two of one body."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from traindx.watch.reading.program import Function, Program, Scope, Slip, name_of, names_in, shown, side_of, words
from traindx.watch.runtime.syntax import inside, walk

MODES = frozenset(
    {"eval", "train", "to", "requires_grad_", "parameters", "zero_grad", "state_dict", "cuda", "cpu", "float"}
)


def calls_differ(program: Program) -> Iterator[Slip]:
    """``criterion(code, decoded)`` in training, and ``criterion(decoded, target)`` in validation, which has both."""
    by_side: dict[tuple[str, str], list[tuple[str, str, Scope]]] = {}
    for file, symbol, scope in program.scopes():
        name = symbol.rpartition(".")[2]
        if isinstance(scope, Function) and side_of(name):
            rest = "_".join(one for one in words(name) if not side_of(one))
            by_side.setdefault((symbol.rpartition(".")[0], rest), []).append((file, symbol, scope))
    for group in by_side.values():
        for file, symbol, scope in group:
            for _, other, partner in group:
                if side_of(symbol.rpartition(".")[2]) == "held out" and side_of(other.rpartition(".")[2]) == "train":
                    yield from _differ(file, symbol, scope, other, partner)


def _differ(file: str, symbol: str, scope: ast.AST, other: str, twin: ast.AST) -> Iterator[Slip]:
    mine, its = _losses(scope), _losses(twin)
    known, known_there = _known(scope), _known(twin)
    for called, call in mine.items():
        there = its.get(called)
        if there is None or len(there.args) != len(call.args):
            continue
        here_names, there_names = [name_of(one) for one in call.args], [name_of(one) for one in there.args]
        every = {*here_names, *there_names}
        if (
            here_names != there_names
            and set(here_names) != set(there_names)
            and all(every)
            and every <= known & known_there
        ):
            yield Slip("calls-differ", shown(call), f"{other}: {shown(there)}", file, call.lineno, symbol, there.lineno)


def _losses(scope: ast.AST) -> dict[str, ast.Call]:
    """Calls of something that is called once in a function and whose name says loss or criterion."""
    found: dict[str, list[ast.Call]] = {}
    for one in inside(scope):
        if (
            isinstance(one, ast.Call)
            and len(one.args) > 1
            and set(words(name_of(one.func))) & {"loss", "criterion", "metric"}
        ):
            found.setdefault(ast.unparse(one.func), []).append(one)
    return {name: calls[0] for name, calls in found.items() if len(calls) == 1}


def _known(scope: ast.AST) -> set[str]:
    return names_in(scope) | {one.arg for one in walk(scope) if isinstance(one, ast.arg)}


def network_never_called(program: Program) -> Iterator[Slip]:
    """``model.eval()`` and a loop that never calls ``model``: what is evaluated did not go through it."""
    for file, symbol, scope in program.scopes():
        if not isinstance(scope, Function):
            continue
        switched: dict[str, ast.Call] = {}
        for one in inside(scope):
            method = one.func if isinstance(one, ast.Call) else None
            if isinstance(one, ast.Call) and isinstance(method, ast.Attribute) and method.attr == "eval":
                switched.setdefault(name_of(method.value) if isinstance(method.value, ast.Name) else "", one)
        switched.pop("", None)
        for name, statement in switched.items():
            used = [
                one
                for one in walk(scope)
                if isinstance(one, ast.Name) and one.id == name and isinstance(one.ctx, ast.Load)
            ]
            modes = [
                one
                for one in walk(scope)
                if isinstance(one, ast.Attribute)
                and isinstance(one.value, ast.Name)
                and one.value.id == name
                and one.attr in MODES
            ]
            loops = [one for one in inside(scope) if isinstance(one, ast.For)]
            judged = [
                one
                for loop in loops
                for one in inside(loop)
                if isinstance(one, ast.Call)
                and len(one.args) > 1
                and set(words(name_of(one.func))) & {"loss", "criterion", "metric", "dice", "accuracy"}
            ]
            if len(used) == len(modes) and judged:
                yield Slip("never-called", shown(judged[0]), name, file, judged[0].lineno, symbol, statement.lineno)


def one_body_for_two(program: Program) -> Iterator[Slip]:
    """Two functions side by side whose bodies are the same to the letter, and whose names are not."""
    for file, tree in program.trees.items():
        for owner in walk(tree):
            if not isinstance(owner, ast.ClassDef | ast.Module):
                continue
            known: dict[tuple[str, ...], ast.FunctionDef | ast.AsyncFunctionDef] = {}
            alike: dict[tuple[str, ...], list[ast.FunctionDef | ast.AsyncFunctionDef]] = {}
            for one in owner.body:
                if isinstance(one, Function) and len(_body(one)) >= 3:
                    alike.setdefault(tuple(type(part).__name__ for part in _body(one)), []).append(one)
            for one in (one for some in alike.values() if len(some) > 1 for one in some):
                before = known.setdefault((ast.dump(one.args), *map(ast.dump, _body(one))), one)
                if before is not one and before.name != one.name:
                    yield Slip("one-body", f"def {one.name}", f"def {before.name}", file, one.lineno, "", before.lineno)


def _body(function: ast.FunctionDef | ast.AsyncFunctionDef) -> list[ast.stmt]:
    first = function.body[0]
    described = isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant)
    return function.body[1:] if described else function.body


def result_dropped(program: Program) -> Iterator[Slip]:
    """``augment(image, mask)`` as a statement, where ``augment`` does nothing but return something."""
    for file, symbol, scope in program.scopes():
        for one in inside(scope):
            call = one.value if isinstance(one, ast.Expr) else None
            function = program.called(call) if isinstance(call, ast.Call) else None
            if function is not None and isinstance(one, ast.Expr) and _only_returns(program, function):
                yield Slip("dropped", shown(one), f"def {function.name}", file, one.lineno, symbol, function.lineno)


def _only_returns(program: Program, function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """The function gives something back and changes nothing that its caller could see."""
    returns = [one for one in inside(function) if isinstance(one, ast.Return)]
    if (
        not returns
        or any(one.value is None or isinstance(one.value, ast.Constant) for one in returns)
        or function.decorator_list
    ):
        return False
    for one in inside(function):
        if isinstance(one, ast.Expr) and not isinstance(one.value, ast.Constant):
            return False
        if isinstance(one, ast.Attribute | ast.Subscript) and isinstance(one.ctx, ast.Store | ast.Del):
            return False
        if isinstance(one, ast.Global | ast.Nonlocal | ast.Raise | ast.Assert | ast.Yield | ast.YieldFrom | ast.With):
            return False
        given = [*one.args, *(part.value for part in one.keywords)] if isinstance(one, ast.Call) else []
        if any(isinstance(part, ast.Name) and part.id in program.functions for part in given):
            return False  # whoever is handed a function may call it
    return True


READERS = (calls_differ, network_never_called, one_body_for_two, result_dropped)
