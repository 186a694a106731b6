"""A value put together with itself, divided twice, or spaced by the wrong size."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from traindx.watch.reading.brackets import counters
from traindx.watch.reading.program import Function, Program, Slip, name_of, names_in, read_in, shown, words
from traindx.watch.runtime.syntax import inside, walk

PLAIN = frozenset({"int", "float", "str", "len", "abs", "list", "tuple", "sorted", "round", "bytes"})
LOSSES = frozenset({
    "mse_loss", "l1_loss", "smooth_l1_loss", "huber_loss", "cross_entropy", "binary_cross_entropy", "nll_loss",
    "binary_cross_entropy_with_logits", "criterion", "dice_loss", "accuracy_score", "f1_score", "mean_squared_error",
    "mean_absolute_error",
})  # fmt: skip
ANSWERS = frozenset({
    "pred", "preds", "predicted", "prediction", "predictions", "label", "labels", "target", "targets", "gt", "truth",
    "y",
})  # fmt: skip
JOINS = frozenset({"cat", "stack", "concat", "concatenate", "hstack", "vstack"})
BATCHES = frozenset({"b", "bs", "batch", "nbatch", "bsz"})


def added_to_itself(program: Program) -> Iterator[Slip]:
    """``x = f(x)`` and then ``x + x``; ``h = f(x); x = h`` and then ``x + h``: a residual that is none."""
    for file, symbol, scope in program.scopes():
        for block in program.blocks(scope):
            made: dict[str, ast.Assign] = {}  # names that hold what a call gave
            equal: dict[str, str] = {}  # names that hold what another one holds
            for node in block:
                simple = isinstance(node, ast.Assign | ast.AugAssign | ast.Return | ast.Expr)
                for one in walk(node) if simple else ():
                    first, second = _sum(one)
                    call = made.get(first)
                    if not first or call is None or equal.get(first, first) != equal.get(second, second):
                        continue
                    if first != second or first in _given(call):
                        yield Slip("added-to-itself", shown(node), shown(call), file, node.lineno, symbol, call.lineno)
                        break
                _follow(node, made, equal)


def _sum(node: ast.AST) -> tuple[str, str]:
    """The two names of ``a + b`` and of ``a += b``; two empty ones for anything else."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        first, second = node.left, node.right
    elif isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Add):
        first, second = node.target, node.value
    else:
        return "", ""
    return (first.id, second.id) if isinstance(first, ast.Name) and isinstance(second, ast.Name) else ("", "")


def _given(node: ast.Assign) -> set[str]:
    """Names that the call of an assignment is given."""
    call = node.value
    if not isinstance(call, ast.Call):
        return set()
    return {name for one in (*call.args, *(word.value for word in call.keywords)) for name in names_in(one)}


def _follow(node: ast.stmt, made: dict[str, ast.Assign], equal: dict[str, str]) -> None:
    """What a statement does to the names that are followed."""
    if not isinstance(node, ast.Expr | ast.Assign | ast.AugAssign | ast.AnnAssign):
        made.clear()  # what a branch does is not followed
        equal.clear()
        return
    value = node.value if isinstance(node, ast.Assign) else None
    kept = equal.get(value.id, value.id) if isinstance(value, ast.Name) else ""
    call = made.get(value.id) if isinstance(value, ast.Name) else None
    for name in [one.id for one in walk(node) if isinstance(one, ast.Name) and not isinstance(one.ctx, ast.Load)]:
        made.pop(name, None)
        equal.pop(name, None)
        for other in [one for one, same in equal.items() if same == name]:
            del equal[other]
    target = node.targets[0] if isinstance(node, ast.Assign) and len(node.targets) == 1 else None
    if not isinstance(node, ast.Assign) or not isinstance(target, ast.Name):
        return
    if kept and kept != target.id:
        equal[target.id] = kept
        if call is not None:
            made[target.id] = call
    elif isinstance(value, ast.Call) and name_of(value.func) not in PLAIN and _given(node):
        made[target.id] = node


def one_for_both(program: Program) -> Iterator[Slip]:
    """``torch.cat([x1, x1])`` where nothing reads ``x2``; ``criterion(out, out)``; ``(pred == pred).mean()``."""
    for file, symbol, scope in program.scopes():
        if not isinstance(scope, Function) or "test" in words(scope.name):
            continue
        idle: set[str] | None = None
        compared = {id(part) for one in walk(scope) if isinstance(one, ast.Assert) for part in walk(one)}
        for node in inside(scope):
            name = _twice(node)
            if not name or id(node) in compared:
                continue
            if idle is None:
                idle = _unread(scope)
            near = sorted(one for one in idle if _siblings(name, one))
            if near:
                where = file, node.lineno, symbol  # type: ignore[attr-defined]
                yield Slip("one-for-both", shown(node), near[0], *where, was=name, better=near[0])
            elif _judges_itself(node, name):
                yield Slip("one-for-both", shown(node), name, file, node.lineno, symbol, was=name)  # type: ignore[attr-defined]


def _judges_itself(node: ast.AST, name: str) -> bool:
    """A loss of one thing with itself, or an answer that is asked whether it is equal to itself."""
    if isinstance(node, ast.Compare):
        return isinstance(node.ops[0], ast.Eq) and bool(set(words(name)) & ANSWERS)
    return isinstance(node, ast.Call) and name_of(node.func) in LOSSES


def _twice(node: ast.AST) -> str:
    """The name that stands on both sides of an operation, or twice in what is joined or judged."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add | ast.Mult | ast.MatMult):
        parts: list[ast.expr] = [node.left, node.right]
    elif isinstance(node, ast.Compare) and len(node.ops) == 1:
        parts = [node.left, node.comparators[0]]
    elif isinstance(node, ast.Call) and name_of(node.func) in JOINS and node.args:
        parts = node.args[0].elts if isinstance(node.args[0], ast.List | ast.Tuple) else []
    elif isinstance(node, ast.Call) and name_of(node.func) in LOSSES:
        parts = node.args[:2]
    else:
        return ""
    named = [one.id for one in parts if isinstance(one, ast.Name)]
    return named[0] if len(named) == 2 and named[0] == named[1] else ""


def _unread(scope: ast.FunctionDef | ast.AsyncFunctionDef) -> set[str]:
    """Parameters and names of a function that nothing in it reads."""
    given = {one.arg for one in (*scope.args.args, *scope.args.kwonlyargs)}
    given |= {one.id for one in inside(scope) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
    return given - read_in(scope)


def _siblings(first: str, second: str) -> bool:
    """Names that differ in one word or number: ``x1`` and ``x2``, ``left_image`` and ``right_image``."""
    mine, its = words(first), words(second)
    if len(mine) != len(its) or len(mine) < 2:
        return False
    apart = [(one, other) for one, other in zip(mine, its, strict=True) if one != other]
    return len(apart) == 1 and apart[0][0].isdigit() == apart[0][1].isdigit()


def spaced_by_the_batch(program: Program) -> Iterator[Slip]:
    """``torch.arange(B) * B``: sample b of a flattened (B, N) array begins at b * N."""
    for file, symbol, scope in program.scopes():
        products = [node for node in inside(scope) if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult)]
        sides = [pair for node in products for pair in ((node, node.left, node.right), (node, node.right, node.left))]
        by_batch = [(node, side, ast.unparse(size)) for node, side, size in sides if _is_batch(size)]
        if not by_batch:
            continue
        whole = ast.unparse(scope) if isinstance(scope, Function) else ""
        counted = {
            name: ast.unparse(loop.iter.args[0])
            for loop in inside(scope)
            if isinstance(loop, ast.For) and isinstance(loop.iter, ast.Call) and len(loop.iter.args) == 1
            and name_of(loop.iter.func) == "range"
            for name in counters(loop)
        }  # fmt: skip
        for node, side, text in by_batch:
            if f"{text}, {text}" in whole or f"eye({text}" in whole:
                continue
            if _counts_up_to(side) == text or (isinstance(side, ast.Name) and counted.get(side.id) == text):
                yield Slip("spaced", shown(node), text, file, node.lineno, symbol)


def _is_batch(node: ast.expr) -> bool:
    """A size that is named as one of a batch."""
    said = words(name_of(node))
    return said in (("b",), ("bs",)) or (bool(said) and said[0] in BATCHES and set(said[1:]) <= {"size", "sz"})


def _counts_up_to(node: ast.expr) -> str:
    """``n`` of ``arange(n)``, however it is shaped afterwards; "" for anything else."""
    while isinstance(node, ast.Subscript | ast.Attribute) or (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and name_of(node.func) != "arange"
    ):
        node = node.func.value if isinstance(node, ast.Call) else node.value  # type: ignore[attr-defined]
    if isinstance(node, ast.Call) and name_of(node.func) == "arange" and len(node.args) == 1:
        return ast.unparse(node.args[0])
    return ""


def divided_twice(program: Program) -> Iterator[Slip]:
    """``total += loss / len(loader)`` and then ``total / len(loader)``; ``np.mean(losses) / len(losses)``."""
    for file, symbol, scope in program.scopes():
        shares: dict[str, dict[str, ast.AugAssign]] = {}
        for node in inside(scope):
            if not isinstance(node, ast.AugAssign) or not isinstance(node.op, ast.Add):
                continue
            value = node.value
            if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Div) and _is_length(value.right):
                shares.setdefault(ast.unparse(node.target), {})[ast.unparse(value.right)] = node
        for node in inside(scope):
            left: ast.expr | None = None
            if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div):
                left, right = node.left, node.right
            elif isinstance(node, ast.AugAssign) and isinstance(node.op, ast.Div):
                left, right = node.target, node.value
            if left is None or not _is_length(right):
                continue
            first = shares.get(ast.unparse(left), {}).get(ast.unparse(right))
            where = file, node.lineno, symbol  # type: ignore[attr-defined]
            if first is not None and first.lineno < where[1]:
                yield Slip("divided-twice", shown(node), shown(first), *where, first.lineno)
            elif _is_mean_of(left, right):
                yield Slip("divided-twice", shown(node), shown(left), *where)


def _is_mean_of(left: ast.expr, length: ast.expr) -> bool:
    """``np.mean(x)`` beside ``len(x)``."""
    if not isinstance(left, ast.Call) or name_of(left.func) not in ("mean", "fmean") or len(left.args) != 1:
        return False
    return isinstance(length, ast.Call) and ast.dump(left.args[0]) == ast.dump(length.args[0])


def _is_length(node: ast.expr) -> bool:
    return isinstance(node, ast.Call) and name_of(node.func) == "len" and len(node.args) == 1


def equals_plus(program: Program) -> Iterator[Slip]:
    """``total =+ loss`` gives ``total`` the value of ``loss``."""
    for file, symbol, scope in program.scopes():
        for node in inside(scope):
            value = node.value if isinstance(node, ast.Assign) else None
            if not isinstance(node, ast.Assign) or not isinstance(value, ast.UnaryOp):
                continue
            if isinstance(value.op, ast.UAdd) and not isinstance(value.operand, ast.Constant):
                better = f"{shown(node.targets[0])} += {shown(value.operand)}"
                yield Slip("equals-plus", shown(node), "", file, node.lineno, symbol, better=better)


def mean_by_an_index(program: Program) -> Iterator[Slip]:
    """``total / i`` behind the loop that counted with ``i`` from 0 and added to ``total`` in every round."""
    for file, symbol, scope in program.scopes():
        for block in program.blocks(scope):
            for number, loop in enumerate(block):
                if not isinstance(loop, ast.For) or loop.orelse:
                    continue
                if any(isinstance(one, ast.Break | ast.Continue) for one in inside(loop)):
                    continue
                index = next((name for name, first in counters(loop).items() if first == 0), "")
                direct = {one for part in loop.body if isinstance(part, ast.AugAssign) for one in added_up_in(part)}
                for later in block[number + 1 :] if index and direct else ():
                    if index in _stored(later):
                        break
                    for node in walk(later):
                        divided = isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div)
                        if not isinstance(node, ast.BinOp) or not divided or not isinstance(node.right, ast.Name):
                            continue
                        if node.right.id == index and ast.unparse(node.left) in direct:
                            text = f"for {shown(loop.target)} in {shown(loop.iter)}"
                            better = f"{shown(node.left)} / ({index} + 1)"
                            where = file, node.lineno, symbol, loop.lineno
                            yield Slip("by-index", shown(node), text, *where, better=better)


def added_up_in(node: ast.AugAssign) -> set[str]:
    """The name that a statement adds to."""
    return {ast.unparse(node.target)} if isinstance(node.op, ast.Add) else set()


def _stored(node: ast.AST) -> set[str]:
    return {one.id for one in walk(node) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}


READERS = (
    added_to_itself,
    one_for_both,
    spaced_by_the_batch,
    divided_twice,
    equals_plus,
    mean_by_an_index,
)
