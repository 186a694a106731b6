"""The same thing where another one belongs: operands, branches, keys, indices, methods."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise

from traindx.watch.reading.program import Function, Program, Slip, name_of, shown
from traindx.watch.runtime.syntax import inside, walk

OPERATORS = ast.Sub | ast.Div | ast.FloorDiv | ast.Mod


def same_operands(program: Program) -> Iterator[Slip]:
    """``a - a``, ``a > b and a > b``, ``max(x1, x1)``, ``x if c else x``."""
    for file, symbol, scope in program.scopes():
        for node in inside(scope):
            pair: list[ast.expr] = []
            if isinstance(node, ast.BinOp) and isinstance(node.op, OPERATORS):
                pair = [node.left, node.right]
            elif (
                isinstance(node, ast.Compare)
                and len(node.ops) == 1
                and not isinstance(node.ops[0], ast.Eq | ast.NotEq | ast.Is | ast.IsNot)
            ):
                pair = [node.left, node.comparators[0]]
            elif isinstance(node, ast.BoolOp):
                pair = _twice(node.values)
            elif (
                isinstance(node, ast.Call)
                and name_of(node.func) in ("min", "max", "maximum", "minimum")
                and len(node.args) == 2
            ):
                pair = list(node.args)
            elif isinstance(node, ast.IfExp):
                pair = [node.body, node.orelse]
            if (
                len(pair) == 2
                and type(pair[0]) is type(pair[1]) is not ast.Constant
                and ast.dump(pair[0]) == ast.dump(pair[1])
                and _draws_nothing(pair[0])
            ):
                yield Slip("operands", shown(node), shown(pair[0]), file, node.lineno, symbol)  # type: ignore[attr-defined]


def _twice(values: list[ast.expr]) -> list[ast.expr]:
    known: dict[str, ast.expr] = {}
    for one in values:
        other = known.setdefault(ast.dump(one), one)
        if other is not one:
            return [other, one]
    return []


def _draws_nothing(node: ast.expr) -> bool:
    """False for calls: each may give something else."""
    return not any(isinstance(one, ast.Call) for one in walk(node))


def same_branches(program: Program) -> Iterator[Slip]:
    """``if a: x() else: x()``, and a condition that stands twice in one chain."""
    chained: set[int] = set()
    for file, symbol, scope in program.scopes():
        for node in inside(scope):
            if not isinstance(node, ast.If) or id(node) in chained:
                continue
            if (
                node.orelse
                and len(node.orelse) == len(node.body)
                and not isinstance(node.body[0], ast.Pass | ast.Raise | ast.Continue)
                and [ast.dump(one) for one in node.body] == [ast.dump(one) for one in node.orelse]
            ):
                yield Slip(
                    "branches",
                    f"if {shown(node.test)}",
                    shown(node.body[0]),
                    file,
                    node.lineno,
                    symbol,
                    node.orelse[0].lineno,
                )
            tests: dict[str, int] = {}
            one: ast.stmt = node
            while isinstance(one, ast.If):
                chained.add(id(one))
                line = tests.setdefault(ast.dump(one.test), one.lineno)
                if line != one.lineno and _draws_nothing(one.test):
                    yield Slip("test-twice", f"elif {shown(one.test)}", "", file, one.lineno, symbol, line)
                if len(one.orelse) != 1:
                    break
                one = one.orelse[0]


def keys_twice(program: Program) -> Iterator[Slip]:
    """``{"train": a, "val": b, "train": c}``: the last one holds."""
    for file, symbol, scope in program.scopes():
        for node in inside(scope):
            if isinstance(node, ast.Dict):
                known: dict[object, ast.expr] = {}
                for key, value in zip(node.keys, node.values, strict=True):
                    if isinstance(key, ast.Constant):
                        before = known.get(key.value)
                        if before is not None and ast.dump(before) != ast.dump(value):
                            yield Slip(
                                "key-twice",
                                f"{key.value!r}: {shown(value, 60)}",
                                shown(before, 60),
                                file,
                                key.lineno,
                                symbol,
                                before.lineno,
                            )
                        known[key.value] = value


def defined_twice(program: Program) -> Iterator[Slip]:
    """Two methods of one name in a class, or two functions in a file: the last one holds."""
    for file, tree in program.trees.items():
        for owner in walk(tree):
            if not isinstance(owner, ast.ClassDef | ast.Module):
                continue
            known: dict[str, ast.FunctionDef | ast.AsyncFunctionDef] = {}
            for one in owner.body:
                if isinstance(one, Function) and not one.decorator_list:
                    before = known.get(one.name)
                    if before is not None and not _used_between(owner, before, one):
                        name = f"{owner.name}." if isinstance(owner, ast.ClassDef) else ""
                        yield Slip("defined-twice", f"def {name}{one.name}", "", file, before.lineno, "", one.lineno)
                    known[one.name] = one


def _used_between(owner: ast.ClassDef | ast.Module, first: ast.stmt, second: ast.stmt) -> bool:
    """A script may use a function, and define another one of that name afterwards."""
    name = getattr(first, "name", "")
    between = owner.body[owner.body.index(first) + 1 : owner.body.index(second)]
    return any(isinstance(one, ast.Name) and one.id == name for part in between for one in walk(part))


def index_repeated(program: Program) -> Iterator[Slip]:
    """``b[0], b[1], b[2], b[2]``, and ``real = x[..., 0]`` beside ``imag = x[..., 0]``."""
    for file, symbol, scope in program.scopes():
        for node in inside(scope):
            if isinstance(node, ast.Tuple | ast.List) and isinstance(node.ctx, ast.Load) and len(node.elts) > 2:
                numbers = [_numbered(one) for one in node.elts]
                if len({base for base, _ in numbers}) == 1 and numbers[0][0]:
                    given = [number for _, number in numbers]
                    if _one_repeated(given):
                        yield Slip("index", shown(node), ", ".join(map(str, given)), file, node.lineno, symbol)
        for block in program.blocks(scope):
            for first, second in pairwise(block):
                if not (isinstance(first, ast.Assign) and isinstance(second, ast.Assign)):
                    continue
                one, other = first.value, second.value
                names = {name_of(part) for part in (*first.targets, *second.targets)} - {""}
                same = isinstance(one, ast.Subscript) and ast.dump(one) == ast.dump(other) and _numbered(one)[0] != ""
                if same and len(names) == 2 and not isinstance(getattr(one, "slice", None), ast.Constant):
                    yield Slip("index", shown(second), shown(first), file, second.lineno, symbol, first.lineno)


def _numbered(node: ast.expr) -> tuple[str, int]:
    """What is indexed, with all of the index but its one number, and the number; "" for anything else."""
    if not isinstance(node, ast.Subscript):
        return "", 0
    index = node.slice
    numbers = [
        one
        for one in walk(index)
        if isinstance(one, ast.Constant) and isinstance(one.value, int) and not isinstance(one.value, bool)
    ]
    if len(numbers) != 1 or any(isinstance(one, ast.Call) for one in walk(node)):
        return "", 0
    number = numbers[0].value
    text = ast.dump(node).replace(f"Constant(value={number!r})", "#")
    return text, int(str(number))


def _one_repeated(given: list[int]) -> bool:
    """Consecutive numbers from 0 but for one place that repeats its neighbour: 0, 1, 1, 3 and 0, 1, 2, 2."""
    wrong = [place for place, number in enumerate(given) if number != place]
    return len(wrong) == 1 and given[wrong[0]] == wrong[0] - 1


READERS = (same_operands, same_branches, keys_twice, defined_twice, index_repeated)
