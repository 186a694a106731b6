"""Loops that go on with something else than their own round: another one's value, the index, the last round."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise

from traindx.watch.reading.program import Program, Slip, inside, name_of, shown, side_of, words

COUNTS = frozenset({"num", "n", "count", "counter", "total", "batches", "samples", "seen", "nb"})
PASSES_ON = frozenset({"enumerate", "tqdm", "track", "iter", "list", "islice", "progress_bar", "reversed", "cycle"})


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
                    own = {one.id for one in ast.walk(later.target) if isinstance(one, ast.Name)}
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
                            f"{name} -> ",
                        )


def _given(scope: ast.AST) -> dict[str, list[int]]:
    found: dict[str, list[int]] = {}
    for one in inside(scope):
        if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store):
            found.setdefault(one.id, []).append(one.lineno)
        elif isinstance(one, ast.arg):
            found.setdefault(one.arg, []).append(0)
    for one in ast.walk(scope) if not isinstance(scope, ast.Module) else ():
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
    names = {one.id for one in ast.walk(value) if isinstance(one, ast.Name)}
    return names.pop() if len(names) == 1 else ""


def _sums(loop: ast.For, name: str) -> bool:
    """True if a loop adds up under a name: the later loop may be meant to use the sum."""
    return any(
        (isinstance(one, ast.AugAssign) and name_of(one.target) == name)
        or (
            isinstance(one, ast.Assign)
            and any(name in _names(part) for part in (one.value,))
            and name in {name_of(part) for part in one.targets}
        )
        for one in inside(loop)
    )


def _names(node: ast.AST) -> set[str]:
    return {one.id for one in ast.walk(node) if isinstance(one, ast.Name)}


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
            names = {
                name_of(one.targets[0]) for one in loop.body if isinstance(one, ast.Assign) and len(one.targets) == 1
            }
            if (
                len(names) != 1
                or loop.orelse
                or not all(isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Name) for one in loop.body)
            ):
                continue
            (name,) = names
            first = loop.body[0]
            assert isinstance(first, ast.Assign)
            own = _names(loop.target)
            if name in _names(first.value) or not isinstance(first.value, ast.Call) or not _names(first.value) & own:
                continue
            given = [one for one in first.value.args if isinstance(one, ast.Name) and one.id not in own]
            if given and first.value.func is not None and _names(first.value.func) & own:  # a layer, and no data
                yield Slip(
                    "last-round",
                    shown(first),
                    f"for {shown(loop.target)} in {shown(loop.iter)}",
                    file,
                    first.lineno,
                    symbol,
                    loop.lineno,
                    f"{given[0].id} -> {name}",
                )


def loop_takes_a_name(program: Program) -> Iterator[Slip]:
    """``i, j, h, w = corner()`` and then ``for i in range(n)``: nothing has read the first ``i``."""
    for file, symbol, scope in program.scopes():
        events: dict[str, list[tuple[int, int, str, ast.AST]]] = {}
        loops = {
            id(part): loop for loop in loops_of(scope) for part in ast.walk(loop.target) if isinstance(part, ast.Name)
        }
        unpacked = {
            id(part)
            for one in program.inside(scope)
            if isinstance(one, ast.Assign) and isinstance(one.targets[0], ast.Tuple)
            for part in one.targets[0].elts
        }
        for one in ast.walk(scope) if not isinstance(scope, ast.Module) else ():
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
                        for one in ast.walk(part)
                    ):
                        text = f"for {shown(loop.target)} in {shown(loop.iter)}"
                        yield Slip("loop-takes", text, name, file, loop.lineno, symbol, before[0])


def other_side(program: Program) -> Iterator[Slip]:
    """``def validate(...): for batch in train_loader``, and ``for x in train_loader: val_loss += ...``."""
    for file, symbol, scope in program.scopes():
        place = side_of(symbol.rpartition(".")[2])
        for loop in loops_of(scope):
            over = side_of(_source(loop.iter))
            if not over:
                continue
            if place and place != over and place == "held out":
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
                if not _is_holder(statement.value) or _names(statement.value) & _names(loop.target):
                    continue
                uses = [
                    one
                    for one in inside(loop)
                    if isinstance(one, ast.Name | ast.Attribute) and ast.unparse(one) == name
                ]
                fills = [one for part in loop.body for one in _filled(part) if ast.unparse(one) == name]
                after = [one for one in program.inside(scope) if getattr(one, "lineno", 0) > _span(loop)[1]]
                used = any(isinstance(one, ast.Name | ast.Attribute) and ast.unparse(one) == name for one in after)
                if fills and len(uses) == len(fills) + 1 and (used or name.startswith("self.")):
                    text = f"for {shown(loop.target)} in {shown(loop.iter)}"
                    yield Slip("made-anew", shown(statement), text, file, statement.lineno, symbol, loop.lineno)


def _is_holder(value: ast.expr) -> bool:
    """An empty list or dictionary, one with an empty list under every key, and their like."""
    if isinstance(value, ast.List | ast.Dict):
        return not getattr(value, "elts", getattr(value, "keys", ()))
    if isinstance(value, ast.DictComp):
        return _is_holder(value.value)
    if isinstance(value, ast.ListComp):
        return _is_holder(value.elt)
    return (
        isinstance(value, ast.Call)
        and name_of(value.func) in ("dict", "list", "set", "defaultdict", "Counter")
        and not any(not isinstance(one, ast.Name) for one in value.args)
    )


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


def _source(node: ast.expr) -> str:
    """Last name of what is walked through, without ``enumerate`` and ``tqdm``."""
    while isinstance(node, ast.Call) and node.args and name_of(node.func) in PASSES_ON:
        node = node.args[0]
    return name_of(node)


READERS = (value_of_an_earlier_loop, index_is_summed, only_the_last_round, loop_takes_a_name, other_side, made_anew)
