"""Values that were computed for something and are not what is used afterwards."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from itertools import pairwise

from traindx.watch.reading.program import (
    LOOKS_AT_ALL,
    Function,
    Program,
    Slip,
    name_of,
    names_in,
    read_in,
    root,
    shown,
    words,
)
from traindx.watch.runtime.syntax import inside, walk

GIVES_ANOTHER = frozenset(
    {"plt", "ax", "axes", "fig", "figure", "mlab", "logger", "logging", "subprocess", "warnings", "os", "time", "mock"}
)
ABOUT_IT = frozenset(
    {"loss", "losses", "dict", "stats", "metric", "metrics", "info", "log", "logs", "score", "figures"}
)
BESIDE = frozenset({  # parameters that may be there for the sake of a common form
    "args", "kwargs", "self", "cls", "epoch", "step", "iteration", "iter", "config", "cfg", "opt", "device", "name",
    "path", "dir", "file", "folder", "verbose", "logger", "message", "seed", "dtype", "type", "id",
})  # fmt: skip
GIVES_THE_SAME = frozenset({  # at every call, whatever was called in between; anything else may draw or read on
    "sqrt", "exp", "log", "log2", "sin", "cos", "tan", "abs", "min", "max", "sum", "len", "int", "float", "round",
    "floor", "ceil", "pow", "square", "mean",
})  # fmt: skip
MOVES_ITSELF = frozenset({"to", "cuda", "train", "eval", "requires_grad_", "apply", "share_memory"})
"""Methods that change a network and give it back: done, whatever becomes of the name."""
DOES_SOMETHING = frozenset({
    "load", "save", "write", "register", "print", "log", "show", "plot", "open", "partial", "add", "append", "next",
    "read", "readline", "skip", "pop", "advance", "seek",
})  # fmt: skip


def stand_ins(program: Program) -> Iterator[Slip]:
    """``s = net(x_s); logits_s = w["logits"]`` and nothing reads ``s``, whose name differs by one word."""
    for file, symbol, scope in program.scopes():
        for name, made in unread(program, scope):
            for node in inside(scope):
                if not isinstance(node, ast.Assign) or node.lineno <= made.lineno or len(node.targets) != 1:
                    continue
                target = words(name_of(node.targets[0]))
                for used in names_in(node.value):
                    mine, its = words(name), words(used)
                    if len(mine) != len(its) or len(mine) < 2:
                        continue
                    apart = [(one, other) for one, other in zip(mine, its, strict=True) if one != other]
                    if len(apart) == 1 and apart[0][0] in target and apart[0][1] not in target:
                        detail = shown(made)
                        yield Slip("stand-in", shown(node), detail, file, node.lineno, symbol, made.lineno, used, name)


def left_over(program: Program) -> Iterator[Slip]:
    """``val_loss = loss_of(...)`` in a loop that goes on with ``loss``, which an earlier loop has left."""
    for file, symbol, scope in program.scopes():
        idle = {id(made): name for name, made in unread(program, scope)}
        if not idle:
            continue
        stored: dict[str, list[int]] = {}
        for one in inside(scope):
            if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Store):
                stored.setdefault(one.id, []).append(one.lineno)
        for block in program.blocks(scope):
            first, last = block[0].lineno, block[-1].end_lineno or block[-1].lineno
            for number, statement in enumerate(block):
                name = idle.get(id(statement))
                if name is None or block is getattr(scope, "body", None):
                    continue
                for later in block[number + 1 :]:
                    for one in walk(later):
                        if not isinstance(one, ast.Name) or not isinstance(one.ctx, ast.Load):
                            continue
                        lines = stored.get(one.id, [])
                        shorter = set(words(one.id)) < set(words(name)) and len(one.id) > 2
                        if (
                            shorter
                            and lines
                            and all(line < first or line > last for line in lines)
                            and min(lines) < first
                        ):
                            yield Slip(
                                "left-over",
                                shown(later),
                                shown(statement),
                                file,
                                one.lineno,
                                symbol,
                                statement.lineno,
                                one.id,
                                name,
                            )
                            break
                    else:
                        continue
                    break


def unread(program: Program, scope: ast.AST) -> Iterator[tuple[str, ast.Assign]]:
    """Names of a function or a script that get a value and are read nowhere in it, each with the statement."""
    read = read_in(scope)
    if read & LOOKS_AT_ALL:
        return
    script = isinstance(scope, ast.Module)
    for node in inside(scope):
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if (
                name not in read
                and not name.startswith("_")
                and not (script and (program.read[name] or name.isupper()))
            ):
                yield name, node


def raw_used_instead(program: Program) -> Iterator[Slip]:
    """``aligned = self.align(x)``, and then ``self.encode(x)``: nothing reads what was made of ``x``."""
    for file, symbol, scope in program.scopes():
        loads: dict[str, list[int]] = {}
        for one in inside(scope):
            if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load):
                loads.setdefault(one.id, []).append(one.lineno)
        for name, made in unread(program, scope):
            call = made.value
            if not isinstance(call, ast.Call) or not call.args or root(call.func) in GIVES_ANOTHER:
                continue
            if isinstance(call.func, ast.Attribute) and root(call.func) == "self" and program.names[call.func.attr] < 3:
                continue  # a part of a network that is used nowhere else is reported as such
            given, called = call.args[0], name_of(call.func)
            if not isinstance(given, ast.Name) or called[:1].isupper() or set(words(called)) & DOES_SOMETHING:
                continue
            if set(words(name)) & ABOUT_IT:  # no other form of it that could stand in its place
                continue
            after = [line for line in loads.get(given.id, ()) if line > (made.end_lineno or made.lineno)]
            if after:
                yield Slip(
                    "raw",
                    shown(made),
                    f"line {after[0]} reads {given.id}",
                    file,
                    made.lineno,
                    symbol,
                    after[0],
                    given.id,
                    name,
                )


def overwritten_calls(program: Program) -> Iterator[Slip]:
    """``out = net(x)`` and, before anything reads it, ``out = softmax(other)`` in the same block; fields as well."""
    for file, symbol, scope in program.scopes():
        for block in program.blocks(scope):
            pending: dict[str, ast.Assign] = {}
            for node in block:
                target = node.targets[0] if isinstance(node, ast.Assign) and len(node.targets) == 1 else None
                if not isinstance(node, ast.Assign) or not isinstance(target, ast.Name | ast.Attribute):
                    touched = _mentioned(node)
                    pending = {name: one for name, one in pending.items() if name not in touched and "." not in name}
                    if not isinstance(node, ast.Expr | ast.Assign | ast.AugAssign | ast.AnnAssign):
                        pending.clear()  # what a branch does is not followed
                    continue
                name, read = _dotted(target), _mentioned(node.value)
                if isinstance(target, ast.Attribute) and _dotted(target.value) in read:
                    read |= {name}  # a method of the same object may read the field
                if name and name in pending and name not in read:
                    first = pending[name]
                    yield Slip("overwritten", shown(node), shown(first), file, node.lineno, symbol, first.lineno)
                for one in read | {name}:
                    pending.pop(one, None)
                summed = name_of(getattr(node.value, "func", node)) == "sum"  # arithmetic is looked at elsewhere
                moved = isinstance(node.value, ast.Call) and name_of(node.value.func) in MOVES_ITSELF
                if isinstance(node.value, ast.Call) and not summed and not moved:
                    given = (
                        [*node.value.args, node.value.func] if isinstance(target, ast.Attribute) else node.value.args
                    )
                    if any(_named(one) for one in given):
                        pending[name] = node


def _mentioned(node: ast.AST) -> set[str]:
    """Names and fields that a node mentions, and the objects that they belong to."""
    return {_dotted(one) for one in walk(node) if isinstance(one, ast.Name | ast.Attribute)}


def _dotted(node: ast.AST) -> str:
    """``a.b.c`` as it is written; "" for what does not begin with a name."""
    if isinstance(node, ast.Attribute):
        owner = _dotted(node.value)
        return f"{owner}.{node.attr}" if owner else ""
    return node.id if isinstance(node, ast.Name) else ""


def _named(node: ast.expr) -> bool:
    return bool(names_in(node))


def same_for_two(program: Program) -> Iterator[Slip]:
    """``w = s * sqrt(r)`` and next ``h = s * sqrt(r)``: two names for what one and the same expression gives."""
    for file, symbol, scope in program.scopes():
        for block in program.blocks(scope):
            for first, second in pairwise(block):
                if not (isinstance(first, ast.Assign) and isinstance(second, ast.Assign)):
                    continue
                names = names_in(first.value)
                if ast.dump(first.value) != ast.dump(second.value) or len(names) < 2:
                    continue
                called = {name_of(one.func) for one in walk(first.value) if isinstance(one, ast.Call)}
                computed = isinstance(first.value, ast.BinOp) and not isinstance(first.value.left, ast.List)
                if not computed or len(first.targets) + len(second.targets) > 2 or not called <= GIVES_THE_SAME:
                    continue
                if isinstance(first.targets[0], ast.Name) and isinstance(second.targets[0], ast.Name):
                    yield Slip("same", shown(second), shown(first), file, second.lineno, symbol, first.lineno)


def parameter_unread(program: Program) -> Iterator[Slip]:
    """A parameter that a function never reads, though every call gives it something of its own."""
    calls: dict[int, list[ast.Call]] = {}
    for tree in program.trees.values():
        for node in walk(tree):
            if isinstance(node, ast.Call):
                function = program.called(node)
                if function is not None:
                    calls.setdefault(id(function), []).append(node)
    for file, symbol, scope in program.scopes():
        if not isinstance(scope, Function) or id(scope) not in calls or len(program.functions[scope.name]) > 1:
            continue
        if scope.decorator_list or stub(scope) or program.names[scope.name] > len(calls[id(scope)]):
            continue
        owner = program.owners.get(id(scope))
        if owner is not None and owner.bases:
            continue
        read = names_in(scope)
        if read & LOOKS_AT_ALL:
            continue
        names = program.parameters(scope)
        for position, name in enumerate(names):
            if name in read or name.startswith("_") or set(words(name)) & BESIDE:
                continue
            given = [_argument(one, position, name) for one in calls[id(scope)]]
            if all(one is not None and not isinstance(one, ast.Constant) for one in given):
                yield Slip("parameter", f"{scope.name}({', '.join(names)})", name, file, scope.lineno, symbol)


def _argument(call: ast.Call, position: int, name: str) -> ast.expr | None:
    if any(isinstance(one, ast.Starred) for one in call.args):
        return None
    for one in call.keywords:
        if one.arg == name:
            return one.value
    return call.args[position] if position < len(call.args) else None


def stub(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    """A function that says nothing yet: a docstring, ``pass``, ``raise``, or a constant."""
    for one in function.body:
        if isinstance(one, ast.Pass | ast.Raise) or (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant)):
            continue
        if isinstance(one, ast.Return) and (one.value is None or isinstance(one.value, ast.Constant | ast.Name)):
            continue
        return False
    return True


def partner_uncalled(program: Program) -> Iterator[Slip]:
    """A class with ``transform`` and ``inverse_transform``, of which only the first is ever used.

    What takes and gives no value (``unfreeze``, ``unlock``) is for whoever wants it: nothing stays transformed. A
    network's (``unpatchify``) is for pictures: its loss is computed on what it transformed.
    """
    for file, tree in program.trees.items():
        for owner in walk(tree):
            if not isinstance(owner, ast.ClassDef):
                continue
            methods = {one.name: one for one in owner.body if isinstance(one, Function) and not one.decorator_list}
            for name, method in methods.items() if "forward" not in methods else ():
                straight = [one for one in methods if any(name == f"{prefix}{one}" for prefix in UNDOES)]
                if not straight or not program.parameters(method) or not _gives(method):
                    continue
                if program.read[straight[0]] and not program.names[name] and not stub(method):
                    source = f"{owner.name}.{name}"
                    yield Slip(
                        "partner",
                        source,
                        f"{owner.name}.{straight[0]}",
                        file,
                        method.lineno,
                        "",
                        methods[straight[0]].lineno,
                    )


def _gives(function: ast.FunctionDef | ast.AsyncFunctionDef) -> bool:
    return any(isinstance(one, ast.Return) and one.value is not None for one in inside(function))


UNDOES = ("inverse_", "inv_", "un", "de", "reverse_", "undo_")
READERS = (partner_uncalled, stand_ins, left_over, raw_used_instead, overwritten_calls, same_for_two, parameter_unread)
