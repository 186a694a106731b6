"""What Python takes without a word and nobody means: constant conditions, tuples by a comma, lost copies."""

from __future__ import annotations

import ast
import linecache
import re
from collections.abc import Iterator

from traindx.watch.reading.program import Function, Program, Slip, name_of, shown, terms_of
from traindx.watch.runtime.syntax import inside, walk

_FIELD = re.compile(r"\{(\w+)(?::[^{}]*)?\}")
WRITES = frozenset(
    {
        "open",
        "save",
        "print",
        "join",
        "Path",
        "savefig",
        "to_csv",
        "imsave",
        "imwrite",
        "makedirs",
        "write",
        "dump",
        "savez",
        "info",
    }
)
SUMS = frozenset({"sum", "count_nonzero", "mean", "nansum"})


def always_the_same(program: Program) -> Iterator[Slip]:
    """``mode == "train" or "val"`` is always true; ``mode in ("train")`` looks for letters."""
    for file, symbol, scope in program.scopes():
        for node in inside(scope):
            if isinstance(node, ast.If | ast.While | ast.IfExp | ast.Assert):
                for part in walk(node.test):
                    if isinstance(part, ast.BoolOp) and _is_true(part):
                        yield Slip("always-true", shown(part), "", file, part.lineno, symbol)
            if isinstance(node, ast.Compare) and len(node.ops) == 1 and isinstance(node.ops[0], ast.In | ast.NotIn):
                within = node.comparators[0]
                text = within.value if isinstance(within, ast.Constant) else None
                named = isinstance(node.left, ast.Name | ast.Attribute | ast.Subscript)
                if named and isinstance(text, str) and text.isidentifier() and _parenthesised(file, within):
                    better = f"({text!r},)"
                    yield Slip("in-letters", shown(node), text, file, node.lineno, symbol, better=better)


def _is_true(part: ast.BoolOp) -> bool:
    """``x == "a" or "b"``: a comparison, and then a text that is not empty."""
    texts = [one.value for one in part.values[1:] if isinstance(one, ast.Constant)]
    compared = any(isinstance(one, ast.Compare) for one in part.values)
    return isinstance(part.op, ast.Or) and compared and any(isinstance(one, str) and one for one in texts)


def _parenthesised(file: str, node: ast.expr) -> bool:
    line = linecache.getline(file, node.lineno)
    before, after = line.encode()[: node.col_offset].rstrip(), line.encode()[node.end_col_offset or 0 :].lstrip()
    return before.endswith((b"in (", b"in(")) and after.startswith(b")")


def tuple_by_comma(program: Program) -> Iterator[Slip]:
    """``loss = criterion(output, target),`` is a tuple of one."""
    for file, symbol, scope in program.scopes():
        for node in inside(scope):
            if not isinstance(node, ast.Assign) or not isinstance(node.value, ast.Tuple) or len(node.value.elts) != 1:
                continue
            inner, target = node.value.elts[0], node.targets[0]
            if (
                isinstance(inner, ast.Call | ast.BinOp)
                and node.value.col_offset == inner.col_offset
                and isinstance(target, ast.Name | ast.Attribute)
            ):
                yield Slip("comma", shown(target), shown(inner), file, node.lineno, symbol)


def copy_is_changed(program: Program) -> Iterator[Slip]:
    """``x[x > 0][:, 1] = 0`` and ``table[table.age > 60]["risk"] = 1`` change a copy, which is then gone."""
    for file, symbol, scope in program.scopes():
        for node in inside(scope):
            if not isinstance(node, ast.Assign | ast.AugAssign | ast.Expr):
                continue
            for changed in _changed(node):
                if isinstance(changed, ast.Subscript) and _picks(changed.slice):
                    yield Slip("copy-changed", shown(node), shown(changed), file, node.lineno, symbol)


def _changed(node: ast.Assign | ast.AugAssign | ast.Expr) -> list[ast.expr]:
    """What a statement changes in place: ``x`` of ``x[i] = y``, of ``x[i] += y`` and of ``x.clamp_(0)``."""
    if isinstance(node, ast.Expr):
        call = node.value
        method = call.func if isinstance(call, ast.Call) else None
        if isinstance(method, ast.Attribute) and method.attr.endswith("_") and not method.attr.startswith("_"):
            return [method.value]
        return []
    targets = node.targets if isinstance(node, ast.Assign) else [node.target]
    return [one.value for one in targets if isinstance(one, ast.Subscript)]


def _picks(index: ast.expr) -> bool:
    """An index that is a condition: what it picks is a copy, whatever it picks from."""
    if isinstance(index, ast.Tuple):
        return any(_picks(one) for one in index.elts)
    if isinstance(index, ast.UnaryOp):
        return isinstance(index.op, ast.Invert)
    if isinstance(index, ast.BinOp):
        return isinstance(index.op, ast.BitAnd | ast.BitOr) and (_picks(index.left) or _picks(index.right))
    return isinstance(index, ast.Compare) and isinstance(
        index.ops[0], ast.Gt | ast.Lt | ast.GtE | ast.LtE | ast.Eq | ast.NotEq
    )


def text_without_f(program: Program) -> Iterator[Slip]:
    """``"model_{epoch}.pt"`` where ``epoch`` is at hand and the string has no f before it: one name for all."""
    for file, symbol, scope in program.scopes():
        if not isinstance(scope, Function):
            continue
        local = {one.arg for one in (*scope.args.args, *scope.args.kwonlyargs)}
        local |= {one.id for one in inside(scope) if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store)}
        for node in inside(scope):
            if isinstance(node, ast.Call) and name_of(node.func) in WRITES:
                for one in node.args:
                    if isinstance(one, ast.Constant) and isinstance(one.value, str):
                        fields = _FIELD.findall(one.value)
                        if fields and set(fields) <= local:
                            yield Slip("no-f", shown(node), fields[0], file, one.lineno, symbol)


def truths_added(program: Program) -> Iterator[Slip]:
    """``torch.sum(((a == 1) + (b == 1)) == 2)``: two truths of arrays make a truth, which is never 2."""
    for file, symbol, scope in program.scopes():
        nodes = inside(scope)
        for node in nodes:
            if not isinstance(node, ast.Compare) or len(node.ops) != 1 or not isinstance(node.ops[0], ast.Eq | ast.GtE):
                continue
            asked, terms = node.comparators[0], terms_of(node.left)
            if not isinstance(asked, ast.Constant) or type(asked.value) is not int or asked.value != len(terms):
                continue
            if len(terms) > 1 and all(isinstance(one, ast.Compare) for one in terms) and _counted(node, nodes):
                better = " & ".join(f"({ast.unparse(one)})" for one in terms)
                detail = ast.unparse(node.left)
                yield Slip("truths-added", shown(node), detail, file, node.lineno, symbol, better=better)


def _counted(node: ast.expr, nodes: tuple[ast.AST, ...]) -> bool:
    """An array: a call sums it, or the name that it is given."""
    names = {name_of(one.targets[0]) for one in nodes if isinstance(one, ast.Assign) and one.value is node}

    def is_it(one: ast.AST) -> bool:
        return one is node or (isinstance(one, ast.Name) and one.id in names)

    for call in nodes:
        if isinstance(call, ast.Call) and name_of(call.func) in SUMS:
            given = [*call.args[:1], *([call.func.value] if isinstance(call.func, ast.Attribute) else [])]
            if any(is_it(one) for one in given):
                return True
    return False


READERS = (always_the_same, tuple_by_comma, copy_is_changed, text_without_f, truths_added)
