"""Arrays that belong together, of which one is put into another order and the other one is not."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from traindx.watch.reading.program import Function, Program, Scope, Slip, name_of, shown, words
from traindx.watch.reading.resumed import pairs
from traindx.watch.runtime.syntax import inside, walk

TOGETHER = frozenset({
    "zip", "TensorDataset", "nms", "batched_nms", "soft_nms", "cat", "concat", "concatenate", "column_stack",
    "pack_padded_sequence",
})  # fmt: skip
"""Calls that take arrays whose entries belong to each other by their place."""
LABELS = frozenset({"y", "label", "labels", "target", "targets", "cls", "class", "classes", "truth"})
"""What is shuffled alone on purpose, to know what chance gives."""
PAIRS = frozenset({"triu", "tril", "triu_", "tril_", "fill_diagonal_", "float", "cpu", "numpy", "detach"})
ALONG_AN_AXIS = frozenset({"amax", "max", "any", "amin", "min", "all", "sum"})


@dataclass(frozen=True)
class _Order:
    """``order = key.argsort()``: name, the statement, and what was sorted; "" for a drawn order."""

    name: str
    statement: ast.Assign
    key: str


def one_of_two_reordered(program: Program) -> Iterator[Slip]:
    """``order = scores.argsort(); boxes = boxes[order]``, and then ``boxes[keep], scores[keep]``."""
    if not program.names.keys() & {"argsort", "sort", "randperm", "permutation", "topk"}:
        return
    for file, symbol, scope in program.scopes():
        orders = [found for one in inside(scope) if isinstance(one, ast.Assign) for found in _order(one)]
        names = [one.name for one in orders]
        for order in orders:
            if names.count(order.name) > 1 or _assigned(program, scope, order.name) > 1:
                continue
            found = next(_apart(program, scope, order), None) or next(_masked(program, scope, order), None)
            if found is not None:
                node, moved, left = found
                where = file, node.lineno, symbol, order.statement.lineno  # type: ignore[attr-defined]
                yield Slip("one-reordered", shown(node), shown(order.statement), *where, was=left, better=moved)


def _assigned(program: Program, scope: Scope, name: str) -> int:
    return sum(isinstance(one, ast.Name) and one.id == name and isinstance(one.ctx, ast.Store) for one in inside(scope))


def _order(statement: ast.Assign) -> Iterator[_Order]:
    """Orders that a statement makes."""
    if len(statement.targets) != 1:
        return
    target, value = statement.targets[0], statement.value
    kept = ""
    if isinstance(target, ast.Tuple) and len(target.elts) == 2:
        kept, target = name_of(target.elts[0]), target.elts[1]
        if not isinstance(value, ast.Call) or name_of(value.func) not in ("sort", "topk"):
            return
    elif isinstance(value, ast.Subscript) and ast.unparse(value.slice) == "::-1":
        value = value.value
    elif isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr in ("flip", "copy"):
        value = value.func.value
    if not isinstance(target, ast.Name) or not isinstance(value, ast.Call) or _other_axis(value):
        return
    called = name_of(value.func)
    if called in ("randperm", "permutation"):
        counted = not value.args or isinstance(value.args[0], ast.Constant | ast.Call | ast.Attribute | ast.Subscript)
        if called == "randperm" or counted:
            yield _Order(target.id, statement, "")
        return
    if called not in ("argsort", "sort", "topk"):
        return
    owner = value.func.value if isinstance(value.func, ast.Attribute) else None
    library = owner is None or (isinstance(owner, ast.Name) and owner.id in ("torch", "np", "numpy", "jnp"))
    key = (value.args[0] if value.args else None) if library else owner
    if isinstance(key, ast.UnaryOp):
        key = key.operand
    if isinstance(key, ast.Name) and key.id not in (kept, target.id):
        yield _Order(target.id, statement, key.id)


def _other_axis(call: ast.Call) -> bool:
    """The rows are sorted each for itself."""
    said = [one.value for one in call.keywords if one.arg in ("dim", "axis")]
    if name_of(call.func) != "topk":
        said += call.args
    return any(isinstance(one, ast.Constant) and one.value is not True and one.value == 1 for one in said)


def _apart(program: Program, scope: Scope, order: _Order) -> Iterator[tuple[ast.AST, str, str]]:
    """``boxes = boxes[order]`` and then ``boxes`` and the array that was sorted by are taken together."""
    nodes = inside(scope)
    moved: dict[str, ast.stmt] = {}
    for one in nodes:
        if isinstance(one, ast.Subscript) and _by(one, order.name) and isinstance(one.value, ast.Name):
            moved.setdefault(one.value.id, ast.Pass())
    block = next((part for part in program.blocks(scope) if order.statement in part), [])
    for statement in block:
        for target, value in _pairs(statement):
            taken = isinstance(value, ast.Subscript) and _by(value, order.name) and name_of(value.value)
            if isinstance(target, ast.Name) and taken == target.id:
                moved[target.id] = statement
    for name, statement in moved.items():
        if isinstance(statement, ast.Pass) or (not order.key and set(words(name)) & LABELS):
            continue
        partners = [order.key] if order.key else _siblings(nodes, scope, name)
        for other in partners:
            if other in moved or other == name:
                continue
            for use in _uses(program, scope, name, other, statement.end_lineno or statement.lineno, order):
                yield use, name, other


def _by(node: ast.Subscript, order: str) -> bool:
    """Rows are taken by an order: ``x[order]``, ``x[order, :]``."""
    first = node.slice.elts[0] if isinstance(node.slice, ast.Tuple) and node.slice.elts else node.slice
    return isinstance(first, ast.Name) and first.id == order


def _pairs(statement: ast.stmt) -> list[tuple[ast.expr, ast.expr]]:
    return pairs(statement) if isinstance(statement, ast.Assign) and len(statement.targets) == 1 else []


def _siblings(nodes: Sequence[ast.AST], scope: Scope, name: str) -> list[str]:
    """Names that are given their values together with a name: parameters beside it, targets of one statement."""
    if isinstance(scope, Function):
        arguments = [one.arg for one in (*scope.args.posonlyargs, *scope.args.args)]
        if name in arguments:
            place = arguments.index(name)
            return [one for one in arguments[place + 1 : place + 2] if one not in ("self", "cls")]
    for one in nodes:
        if isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Tuple):
            names = [name_of(part) for part in one.targets[0].elts if isinstance(part, ast.Name)]
            if name in names and not isinstance(one.value, ast.Tuple):
                return [other for other in names if other != name]
    return []


def _uses(program: Program, scope: Scope, name: str, other: str, after: int, order: _Order) -> Iterator[ast.AST]:
    """Where two arrays are taken by one index, or handed on together, before either is given another value."""
    changed = sorted(
        one.lineno
        for one in inside(scope)
        if isinstance(one, ast.Name)
        and one.id in (name, other)
        and isinstance(one.ctx, ast.Store)
        and one.lineno > after
    )
    last = changed[0] if changed else 10**9
    told = [
        one.lineno
        for one in inside(scope)
        if isinstance(one, ast.Name) and one.id == other and isinstance(one.ctx, ast.Store)
        and one.lineno > order.statement.lineno and one.lineno <= after
    ]  # fmt: skip
    if told:
        return
    taken: dict[str, set[str]] = {}
    for one in inside(scope):
        line = getattr(one, "lineno", 0)
        if not after < line <= last:
            continue
        if isinstance(one, ast.Subscript) and isinstance(one.value, ast.Name) and one.value.id in (name, other):
            index = one.slice.elts[0] if isinstance(one.slice, ast.Tuple) and one.slice.elts else one.slice
            text = ast.unparse(index)
            if text in (":", "...", "None") or not any(isinstance(part, ast.Name) for part in walk(index)):
                continue
            if order.name in {part.id for part in walk(index) if isinstance(part, ast.Name)}:
                continue
            taken.setdefault(text, set()).add(one.value.id)
            if taken[text] == {name, other}:
                yield one
        elif isinstance(one, ast.Call) and name_of(one.func) in TOGETHER:
            given = [
                *one.args,
                *(part for arg in one.args if isinstance(arg, ast.List | ast.Tuple) for part in arg.elts),
            ]
            if {name, other} <= {_bare(part) for part in given}:
                yield one


def _bare(node: ast.expr) -> str:
    """An array as it is, or with an axis more."""
    if isinstance(node, ast.Subscript) and ast.unparse(node.slice) in (":, None", "(slice(None), None)", "..., None"):
        node = node.value
    elif (
        isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in ("unsqueeze", "float")
    ):
        node = node.func.value
    return node.id if isinstance(node, ast.Name) else ""


def _masked(program: Program, scope: Scope, order: _Order) -> Iterator[tuple[ast.AST, str, str]]:
    """``overlap = iou(boxes[order], boxes[order]).triu(1)``, and ``scores.masked_fill(overlap.amax(0) > t, 0)``."""
    if not order.key or _assigned_after(program, scope, order):
        return
    between: dict[str, str] = {}
    for one in inside(scope):
        if isinstance(one, ast.Assign) and len(one.targets) == 1 and isinstance(one.targets[0], ast.Name):
            moved = _among_themselves(one.value, order)
            if moved and moved != order.key:
                between[one.targets[0].id] = moved
    for one in inside(scope) if between else ():
        mask: ast.expr | None = None
        if isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute) and name_of(one.func.value) == order.key:
            mask = one.args[0] if one.func.attr in ("masked_fill", "masked_fill_") and one.args else None
        elif isinstance(one, ast.Subscript) and name_of(one.value) == order.key:
            mask = one.slice
        elif isinstance(one, ast.BinOp) and isinstance(one.op, ast.Mult) and name_of(one.left) == order.key:
            mask = one.right
        for name in between if isinstance(mask, ast.expr) else ():
            if mask is not None and _over_pairs(mask, name):
                yield one, between[name], order.key


def _assigned_after(program: Program, scope: Scope, order: _Order) -> bool:
    """What was sorted by is put into the order as well; the statement that masks it may give it a new value."""
    return any(
        isinstance(target, ast.Name) and target.id == order.key and isinstance(value, ast.Subscript | ast.Name)
        for one in inside(scope)
        if isinstance(one, ast.Assign)
        for target, value in _pairs(one)
    )


def _among_themselves(value: ast.expr, order: _Order) -> str:
    """Array whose entries a call compares with each other, both times in an order; "" for anything else."""
    while isinstance(value, ast.Call) and isinstance(value.func, ast.Attribute) and value.func.attr in PAIRS:
        value = value.func.value
    given = [one for one in getattr(value, "args", ()) if isinstance(one, ast.Subscript) and _by(one, order.name)]
    names = {name_of(one.value) for one in given}
    return names.pop() if len(given) == 2 and len(names) == 1 else ""


def _over_pairs(mask: ast.expr, name: str) -> bool:
    """A comparison of what is left of the pairs along one axis: one value for every entry in the order."""
    for one in walk(mask):
        method = one.func if isinstance(one, ast.Call) and one.args else None
        if isinstance(method, ast.Attribute) and name_of(method.value) == name and method.attr in ALONG_AN_AXIS:
            return method.attr in ("any", "all") or any(isinstance(part, ast.Compare) for part in walk(mask))
    return False


READERS = (one_of_two_reordered,)
