"""Sums over a loop: divided by the length of another one or by batches, given back in the first round."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise

from traindx.watch.reading.program import Program, Slip, name_of, names_in, shown, side_of, walked
from traindx.watch.runtime.syntax import inside, walk


def divided_by_another(program: Program) -> Iterator[Slip]:
    """``for x in val_loader: total += ...`` and then ``total / len(train_loader)``."""
    for file, symbol, scope in program.scopes():
        for block in program.blocks(scope):
            for number, loop in enumerate(block):
                if not isinstance(loop, ast.For):
                    continue
                over = ast.unparse(walked(loop.iter))
                summed = {
                    one.target.id: one
                    for one in inside(loop)
                    if isinstance(one, ast.AugAssign) and isinstance(one.target, ast.Name)
                }
                for later in block[number + 1 :]:
                    for name, divisor, line in _divisions(later):
                        if name not in summed:
                            continue
                        other = ast.unparse(divisor)
                        if side_of(over) and side_of(other) and side_of(over) != side_of(other):
                            source = f"{name} / len({shown(divisor)})"
                            yield Slip(
                                "other-length",
                                source,
                                f"for ... in {shown(loop.iter)}",
                                file,
                                line,
                                symbol,
                                loop.lineno,
                                better=over,
                            )
                        elif other in (over, ast.unparse(loop.iter)) and _of_samples(summed[name].value):
                            source = f"{name} / len({shown(divisor)})"
                            yield Slip(
                                "samples-by-batches",
                                source,
                                shown(summed[name]),
                                file,
                                line,
                                symbol,
                                summed[name].lineno,
                            )


def _divisions(statement: ast.stmt) -> Iterator[tuple[str, ast.expr, int]]:
    """Name, what its length is taken of, and line, of ``name / len(x)`` and ``name /= len(x)`` in a statement."""
    for node in walk(statement):
        left: ast.expr | None = None
        right: ast.expr | None = None
        if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
            left, right = node.left, node.right
        elif isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Div):
            left, right = node.target, node.value
        if isinstance(left, ast.BinOp) and isinstance(left.op, ast.Mult):
            left = left.left if isinstance(left.left, ast.Name) else left.right
        if isinstance(left, ast.Name) and isinstance(right, ast.Call) and name_of(right.func) == "len" and right.args:
            yield left.id, right.args[0], node.lineno  # type: ignore[attr-defined]


def _of_samples(value: ast.expr) -> bool:
    """A term of a sum that counts samples: ``loss.item() * x.size(0)``, ``(guess == truth).sum().item()``."""
    if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Mult):
        return any(_batch_size(one) for one in (value.left, value.right))
    while isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute):
        if value.func.attr == "sum" and not value.args:
            inner = value.func.value
            while (
                isinstance(inner, ast.Call)
                and isinstance(inner.func, ast.Attribute)
                and inner.func.attr in ("float", "int", "cpu", "type", "long")
            ):
                inner = inner.func.value
            return isinstance(inner, ast.Compare)
        value = value.func.value
    return False


def _batch_size(node: ast.expr) -> bool:
    """``x.size(0)``, ``len(x)``, ``x.shape[0]``."""
    if isinstance(node, ast.Call):
        first = node.args[0] if node.args else None
        return name_of(node.func) == "len" or (
            name_of(node.func) == "size" and isinstance(first, ast.Constant) and first.value == 0
        )
    return (
        isinstance(node, ast.Subscript)
        and name_of(node.value) == "shape"
        and isinstance(node.slice, ast.Constant)
        and node.slice.value == 0
    )


def given_back_too_early(program: Program) -> Iterator[Slip]:
    """A loop that sums up and ends with ``return``: it never gets to its second round."""
    for file, symbol, scope in program.scopes():
        for loop in inside(scope):
            if (
                not isinstance(loop, ast.For)
                or not isinstance(loop.body[-1], ast.Return | ast.Break)
                or len(loop.body) < 2
            ):
                continue
            if any(isinstance(one, ast.Continue) for one in inside(loop)) or loop.orelse:
                continue
            end = loop.body[-1]
            told = names_in(end)
            if isinstance(end, ast.Return) and any(_collects(one) in told for one in loop.body):
                yield Slip(
                    "first-round", shown(end), f"for ... in {shown(loop.iter)}", file, end.lineno, symbol, loop.lineno
                )


def _collects(statement: ast.stmt) -> str:
    """Name of what a statement adds something to, "" where it adds nothing."""
    if isinstance(statement, ast.AugAssign):
        return name_of(statement.target)
    call = statement.value if isinstance(statement, ast.Expr) else None
    if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute):
        return name_of(call.func.value) if call.func.attr in ("append", "extend", "update") else ""
    return ""


def never_reached(program: Program) -> Iterator[Slip]:
    """Statements behind ``return``, ``raise``, ``continue`` or ``break`` in one block."""
    for file, symbol, scope in program.scopes():
        for block in program.blocks(scope):
            for first, second in pairwise(block):
                if isinstance(first, ast.Return | ast.Continue | ast.Break) and not isinstance(
                    second, ast.Return | ast.Pass | ast.Raise
                ):
                    if not (isinstance(second, ast.Expr) and isinstance(second.value, ast.Yield | ast.Constant)):
                        yield Slip(
                            "not-reached", shown(second), shown(first), file, second.lineno, symbol, first.lineno
                        )
                    break


READERS = (divided_by_another, given_back_too_early, never_reached)
