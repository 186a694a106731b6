"""Loops that go on with something else than their own round: another one's value, the index, the last round."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise

from traindx.watch.reading.program import Program, Slip, is_empty, name_of, names_in, shown, side_of, walked, words
from traindx.watch.runtime.syntax import inside, walk

COUNTS = frozenset({"num", "n", "count", "counter", "total", "batches", "samples", "seen", "nb"})


def loops_of(scope: ast.AST) -> list[ast.For]:
    """All `for` loops of a scope, in order."""
    return [one for one in inside(scope) if isinstance(one, ast.For)]


def value_of_an_earlier_loop(program: Program) -> Iterator[Slip]:
    """``for x in train: loss = f(x)``, then ``for x in val: total += loss.item()``: that is the last of training."""
    for file, symbol, scope in program.scopes():
        loops = loops_of(scope)
        given = _given(scope)
        for number, later in enumerate(loops):
            first = later.lineno
            for earlier in loops[:number]:
                begin, end = _span(earlier)
                if end >= first:  # one is inside the other
                    continue
                for statement in later.body:
                    name = _added(statement)
                    lines = given.get(name, [])
                    inside_earlier = lines and all(begin < line <= end for line in lines)
                    own = names_in(later.target)
                    if name and inside_earlier and name not in own and not _sums(earlier, name):
                        text = f"for {shown(earlier.target)} in {shown(earlier.iter)}"
                        yield Slip(
                            "earlier-loop",
                            shown(statement),
                            text,
                            file,
                            statement.lineno,
                            symbol,
                            lines[-1],
                            name,
                        )


def _given(scope: ast.AST) -> dict[str, list[int]]:
    """Lines that give each name a value in a scope; 0 for parameters, those of functions inside it too."""
    found: dict[str, list[int]] = {}
    for one in inside(scope):
        if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store):
            found.setdefault(one.id, []).append(one.lineno)
    for one in inside(scope) if isinstance(scope, ast.Module) else walk(scope):
        if isinstance(one, ast.arg):
            found.setdefault(one.arg, []).append(0)
    return found


def _span(node: ast.For) -> tuple[int, int]:
    return node.lineno, node.end_lineno or node.lineno


def _added(statement: ast.stmt) -> str:
    """The one name that a statement adds to a sum or a list: ``total += loss.item()``, ``losses.append(loss)``."""
    value: ast.expr | None = None
    if isinstance(statement, ast.AugAssign):
        value = statement.value
    elif isinstance(statement, ast.Expr) and isinstance(statement.value, ast.Call) and statement.value.args:
        value = statement.value.args[0] if name_of(statement.value.func) == "append" else None
    if value is None:
        return ""
    names = names_in(value)
    return names.pop() if len(names) == 1 else ""


def _sums(loop: ast.For, name: str) -> bool:
    """True if a loop adds up under a name: the later loop may be meant to use the sum."""
    for one in inside(loop):
        if isinstance(one, ast.AugAssign) and name_of(one.target) == name:
            return True
        if isinstance(one, ast.Assign) and name in map(name_of, one.targets) and name in names_in(one.value):
            return True
    return False


def index_is_summed(program: Program) -> Iterator[Slip]:
    """``for i, batch in enumerate(loader): num_batches += i``."""
    for file, symbol, scope in program.scopes():
        for loop in loops_of(scope):
            call, target = loop.iter, loop.target
            if not (isinstance(call, ast.Call) and name_of(call.func) == "enumerate" and isinstance(target, ast.Tuple)):
                continue
            text, index = f"for {shown(target)} in {shown(call)}", name_of(target.elts[0])
            for one in inside(loop):
                if not isinstance(one, ast.AugAssign) or not isinstance(one.op, ast.Add) or not index:
                    continue
                if name_of(one.value) == index and set(words(name_of(one.target))) & COUNTS:
                    yield Slip("index-summed", shown(one), text, file, one.lineno, symbol, loop.lineno)


def only_the_last_round(program: Program) -> Iterator[Slip]:
    """``for layer in layers: out = layer(x)``: every round begins with ``x`` again, and only the last one is used."""
    for file, symbol, scope in program.scopes():
        for loop in loops_of(scope):
            first, own = loop.body[0], names_in(loop.target)
            name = _only_given(loop)
            if not name or not isinstance(first, ast.Assign) or not isinstance(first.value, ast.Call):
                continue
            given = [one for one in first.value.args if isinstance(one, ast.Name) and one.id not in own]
            layer = bool(names_in(first.value.func) & own)  # it is called in its turn: no data
            if layer and given and name not in names_in(first.value):
                text = f"for {shown(loop.target)} in {shown(loop.iter)}"
                where = file, first.lineno, symbol, loop.lineno
                yield Slip("last-round", shown(first), text, *where, was=given[0].id, better=name)


def _only_given(loop: ast.For) -> str:
    """The one name that every statement of a loop gives a value, "" where one does anything else."""
    names = {
        name_of(one.targets[0]) if isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Name) else ""
        for one in loop.body
    }
    return names.pop() if len(names) == 1 and not loop.orelse else ""


def loop_takes_a_name(program: Program) -> Iterator[Slip]:
    """``i, j, h, w = corner()`` and then ``for i in range(n)``: nothing has read the first ``i``."""
    for file, symbol, scope in program.scopes():
        events: dict[str, list[tuple[int, int, str, ast.AST]]] = {}
        loops = {id(part): loop for loop in loops_of(scope) for part in walk(loop.target) if isinstance(part, ast.Name)}
        unpacked = {
            id(part)
            for one in inside(scope)
            if isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Tuple)
            for part in one.targets[0].elts
        }
        for one in walk(scope) if not isinstance(scope, ast.Module) else ():
            if isinstance(one, ast.Name):
                kind = (
                    "read"
                    if isinstance(one.ctx, ast.Load)
                    else "loop"
                    if id(one) in loops
                    else "given"
                    if id(one) in unpacked
                    else "other"
                )
                events.setdefault(one.id, []).append((one.lineno, one.col_offset, kind, one))
        for name, seen in events.items():
            seen.sort(key=lambda one: one[:2])
            for before, after in pairwise(seen):
                if before[2] == "given" and after[2] == "loop" and name != "_":
                    loop = loops[id(after[3])]
                    if any(
                        isinstance(one, ast.Name) and one.id == name and isinstance(one.ctx, ast.Load)
                        for part in loop.body
                        for one in walk(part)
                    ):
                        text = f"for {shown(loop.target)} in {shown(loop.iter)}"
                        yield Slip("loop-takes", text, name, file, loop.lineno, symbol, before[0])


def _steps(loop: ast.AST) -> bool:
    """Something is trained in a loop: a classifier on the features that are to be evaluated, for example."""
    called = {name_of(one.func) for one in walk(loop) if isinstance(one, ast.Call)}
    return "backward" in called and "step" in called


def other_side(program: Program) -> Iterator[Slip]:
    """``def validate(...): for batch in train_loader``, and ``for x in train_loader: val_loss += ...``."""
    for file, symbol, scope in program.scopes():
        place = side_of(symbol.rpartition(".")[2])
        for loop in loops_of(scope):
            over = side_of(name_of(walked(loop.iter)))
            if not over:
                continue
            if place and place != over and place == "held out" and not _steps(loop):
                yield Slip(
                    "other-side",
                    f"for {shown(loop.target)} in {shown(loop.iter)}",
                    f"def {symbol.rpartition('.')[2]}",
                    file,
                    loop.lineno,
                    symbol,
                    getattr(scope, "lineno", 0),
                )
                continue
            for one in loop.body:
                target = one.target if isinstance(one, ast.AugAssign) else None
                if target is not None and side_of(name_of(target)) and side_of(name_of(target)) != over:
                    yield Slip(
                        "other-side",
                        shown(one),
                        f"for {shown(loop.target)} in {shown(loop.iter)}",
                        file,
                        one.lineno,
                        symbol,
                        loop.lineno,
                    )


def made_anew(program: Program) -> Iterator[Slip]:
    """``for name in names: found = {}; found[key] = ...``, and ``found`` is used afterwards."""
    for file, symbol, scope in program.scopes():
        for loop in loops_of(scope):
            for statement in loop.body:
                target = statement.targets[0] if isinstance(statement, ast.Assign) else None
                if not isinstance(statement, ast.Assign) or not isinstance(target, ast.Name | ast.Attribute):
                    continue
                name = ast.unparse(target)
                if not _is_holder(statement.value) or names_in(statement.value) & names_in(loop.target):
                    continue
                uses = [
                    one
                    for one in inside(loop)
                    if isinstance(one, ast.Name | ast.Attribute) and ast.unparse(one) == name
                ]
                fills = [one for part in loop.body for one in _filled(part) if ast.unparse(one) == name]
                after = [one for one in inside(scope) if getattr(one, "lineno", 0) > _span(loop)[1]]
                used = any(isinstance(one, ast.Name | ast.Attribute) and ast.unparse(one) == name for one in after)
                if fills and len(uses) == len(fills) + 1 and (used or name.startswith("self.")):
                    text = f"for {shown(loop.target)} in {shown(loop.iter)}"
                    yield Slip("made-anew", shown(statement), text, file, statement.lineno, symbol, loop.lineno)


def _is_holder(value: ast.expr) -> bool:
    """An empty list or dictionary, one with an empty list under every key, and their like."""
    if isinstance(value, ast.DictComp):
        return _is_holder(value.value)
    if isinstance(value, ast.ListComp):
        return _is_holder(value.elt)
    if not isinstance(value, ast.Call):
        return is_empty(value)
    made = name_of(value.func) in ("dict", "list", "set", "defaultdict", "Counter")
    return made and all(isinstance(one, ast.Name) for one in value.args)


def _filled(statement: ast.stmt) -> Iterator[ast.expr]:
    """What a statement puts something into."""
    if isinstance(statement, ast.Assign | ast.AugAssign):
        targets = statement.targets if isinstance(statement, ast.Assign) else [statement.target]
        yield from (one.value for one in targets if isinstance(one, ast.Subscript))
    call = statement.value if isinstance(statement, ast.Expr) else None
    if (
        isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in ("append", "add", "extend", "update")
    ):
        inner = call.func.value
        yield inner.value if isinstance(inner, ast.Subscript) else inner


READERS = (value_of_an_earlier_loop, index_is_summed, only_the_last_round, loop_takes_a_name, other_side, made_anew)
