"""Terms of a loss that are computed and shown, and are no part of the sum that goes back."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from traindx.watch.reading.program import Function, Program, Scope, Slip, name_of, names_in, parents_of, shown, words
from traindx.watch.runtime.syntax import inside, walk

SHOWS = frozenset(
    {
        "item",
        "detach",
        "print",
        "log",
        "info",
        "append",
        "add_scalar",
        "update",
        "set_postfix",
        "float",
        "mean",
        "cpu",
        "numpy",
        "format",
        "write",
        "log_dict",
        "debug",
        "round",
    }
)
COLLECTS = frozenset({"append", "appendleft", "extend", "insert", "push", "put", "reset", "clear", "update", "add"})


def term_left_out(program: Program) -> Iterator[Slip]:
    """``total = a_loss + b_loss`` where ``c_loss`` is computed beside them and only shown."""
    for file, symbol, scope in program.scopes():
        made = {
            ast.unparse(one.targets[0]): one
            for one in inside(scope)
            if isinstance(one, ast.Assign) and len(one.targets) == 1 and _is_term(one.targets[0])
            and any(isinstance(part, ast.Call) for part in walk(one.value)) and not _detached(one.value)
        }  # fmt: skip
        sums = [
            one
            for one in inside(scope)
            if isinstance(one, ast.Assign) and isinstance(one.value, ast.BinOp) and isinstance(one.value.op, ast.Add)
            and len(_texts(one.value) & made.keys()) > 1
        ]  # fmt: skip
        if len(sums) != 1 or not _backward(scope, sums[0]):
            continue
        made.pop(ast.unparse(sums[0].targets[0]), None)
        around: dict[bool, dict[int, ast.AST]] = {}
        for assigned in made.values():
            name = name_of(assigned.targets[0])
            field = isinstance(assigned.targets[0], ast.Attribute)
            if ast.unparse(assigned.targets[0]) in _texts(sums[0].value) or (field and _as_text(program, name)):
                continue  # detached where it is added is another fault, which is measured
            trees: list[ast.AST] = list(program.trees.values()) if field else [scope]
            if field not in around:
                around[field] = parents_of(trees)
            parents = around[field]
            uses = [one for tree in trees for one in walk(tree) if _reads(one, name, field)]
            if any(_collects(one, parents) for one in uses):
                continue
            if uses and all(_is_shown(one, parents) for one in uses) and assigned.lineno < sums[0].lineno:
                yield Slip("left-out", shown(sums[0]), shown(assigned), file, sums[0].lineno, symbol, assigned.lineno)


def _texts(node: ast.expr) -> set[str]:
    return {ast.unparse(one) for one in walk(node) if isinstance(one, ast.Name | ast.Attribute)}


def _reads(node: ast.AST, name: str, field: bool) -> bool:
    kind = ast.Attribute if field else ast.Name
    return isinstance(node, kind) and name_of(node) == name and isinstance(node.ctx, ast.Load)


def _as_text(program: Program, name: str) -> bool:
    """A field is asked for by its name, or by the end of it: ``getattr(self, "loss_" + name)``."""
    texts = {
        one.value
        for tree in program.trees.values()
        for one in walk(tree)
        if isinstance(one, ast.Constant) and isinstance(one.value, str) and one.value
    }
    return name in texts or any(name.endswith(one) for one in texts if one.isidentifier())


def _detached(value: ast.expr) -> bool:
    called = name_of(value.func) if isinstance(value, ast.Call) else ""
    return called in ("item", "detach", "float", "AverageMeter", "mean_of")


def _is_term(target: ast.expr) -> bool:
    own = isinstance(target, ast.Name) or (isinstance(target, ast.Attribute) and name_of(target.value) == "self")
    said = words(name_of(target)) if own else ()
    return len(said) > 1 and "loss" in (said[0], said[-1])


def _backward(scope: Scope, total: ast.Assign) -> bool:
    """The sum goes back: ``total.backward()``, or it is returned."""
    name = name_of(total.targets[0])
    for one in inside(scope):
        if isinstance(one, ast.Return) and one.value is not None and name in names_in(one.value):
            return True
        if isinstance(one, ast.Attribute) and one.attr == "backward" and name_of(one.value) == name:
            return True
    return False


def _collects(node: ast.AST, parents: dict[int, ast.AST]) -> bool:
    """``loss_hist.append(...)``, ``loss_meter.update(...)``: what keeps values is no term itself."""
    parent = parents.get(id(node))
    return isinstance(parent, ast.Attribute) and parent.attr in COLLECTS


def _is_shown(node: ast.AST, parents: dict[int, ast.AST]) -> bool:
    """The value goes to a log: ``x.item()``, ``print(x)``, an f-string, a dictionary of figures in a log call.

    A list that it is appended to is a log unless something else than such calls reads the list by its name.
    """
    while True:
        parent = parents.get(id(node))
        if parent is None or isinstance(parent, ast.Return | ast.Assign | ast.BinOp | ast.Compare):
            return False
        if isinstance(parent, ast.FormattedValue):
            return True
        if isinstance(parent, ast.Attribute) and parent.attr in SHOWS:
            return True
        if isinstance(parent, ast.Call) and name_of(parent.func) in SHOWS and node is not parent.func:
            return name_of(parent.func) != "append" or not _summed(parent.func, parents)
        if isinstance(parent, ast.stmt):
            return False
        node = parent


def _summed(append: ast.expr, parents: dict[int, ast.AST]) -> bool:
    """Does anything in the function compute with the list that this adds to?"""
    kept = append.value if isinstance(append, ast.Attribute) else None
    scope: ast.AST | None = append
    while scope is not None and not isinstance(scope, Function | ast.Module):
        scope = parents.get(id(scope))
    if not isinstance(kept, ast.Name) or scope is None:
        return False
    for one in walk(scope):
        if isinstance(one, ast.Name) and one.id == kept.id and isinstance(one.ctx, ast.Load) and one is not kept:
            parent = parents.get(id(one))
            if not (isinstance(parent, ast.Attribute) and parent.attr == "append") and not _is_shown(one, parents):
                return True
    return False


def key_left_out(program: Program) -> Iterator[Slip]:
    """``sum(weights[k] * parts[k] for k in ("dice", "edge"))`` where ``parts`` and ``weights`` have a third key."""
    for file, symbol, scope in program.scopes():
        for one in inside(scope):
            if not isinstance(one, ast.Assign):
                continue
            sums = list(_weighted(one.value))
            for parts, weights, keys in sums if sums and _backward(scope, one) else ():
                known = _keys_of(program, scope, parts, one.lineno)
                given = _weights_of(program, weights)
                if not set(keys) <= known.keys() or not set(keys) <= given.keys():
                    continue
                for key, node in known.items():
                    if key in keys or not given.get(key) or not _only_shown(program, scope, parts, key):
                        continue
                    detail = f"{parts}[{key!r}]: {shown(node)}"
                    yield Slip("left-out", shown(one), detail, file, one.lineno, symbol, node.lineno)


def _weighted(value: ast.expr) -> Iterator[tuple[str, str, list[str]]]:
    """Names of the dictionaries of terms and of weights, and the keys that a sum takes of both."""
    for call in walk(value):
        if not (isinstance(call, ast.Call) and name_of(call.func) == "sum" and len(call.args) == 1):
            continue
        made = call.args[0]
        if not isinstance(made, ast.GeneratorExp | ast.ListComp) or len(made.generators) != 1:
            continue
        over, target = made.generators[0].iter, name_of(made.generators[0].target)
        keys = [str(one.value) for one in getattr(over, "elts", ()) if isinstance(one, ast.Constant)]
        taken = [
            name_of(one.value)
            for one in walk(made.elt)
            if isinstance(one, ast.Subscript) and name_of(one.slice) == target and target
        ]
        if len(keys) > 1 and len(taken) == 2 and all(taken):
            yield taken[0], taken[1], keys
            yield taken[1], taken[0], keys
    terms: dict[str, list[str]] = {}  # both dictionaries, each with its keys
    for one in walk(value) if isinstance(value, ast.BinOp) and isinstance(value.op, ast.Add) else ():
        if isinstance(one, ast.Subscript) and isinstance(one.slice, ast.Constant) and isinstance(one.slice.value, str):
            terms.setdefault(name_of(one.value), []).append(one.slice.value)
    if len(terms) == 2 and "" not in terms:
        (first, mine), (second, others) = terms.items()
        if set(mine) == set(others) and len(set(mine)) > 1:
            yield first, second, mine
            yield second, first, mine


def _keys_of(program: Program, scope: Scope, name: str, line: int, deep: bool = True) -> dict[str, ast.expr]:
    """Keys of a dictionary that is written out, each with its value; {} where not all of them are known."""
    found: dict[str, ast.expr] = {}
    for one in inside(scope):
        if not isinstance(one, ast.Assign) or one.lineno > line:
            continue
        target = one.targets[0]
        if isinstance(target, ast.Subscript) and name_of(target.value) == name:
            if isinstance(target.slice, ast.Constant) and isinstance(target.slice.value, str):
                found[target.slice.value] = one.value
            continue
        targets = target.elts if isinstance(target, ast.Tuple) else [target]
        places = [place for place, part in enumerate(targets) if isinstance(part, ast.Name) and part.id == name]
        if places and isinstance(one.value, ast.Dict) and not isinstance(target, ast.Tuple):
            found |= _literal(one.value)
        elif places and isinstance(one.value, ast.Call) and deep:
            function = program.called(one.value)
            returned = [part.value for part in inside(function) if isinstance(part, ast.Return)] if function else []
            if function is None or len(returned) != 1 or returned[0] is None:
                return {}
            value = returned[0]
            if isinstance(value, ast.Tuple) == isinstance(target, ast.Tuple):
                value = value.elts[places[0]] if isinstance(value, ast.Tuple) else value
                if isinstance(value, ast.Dict):
                    found |= _literal(value)
                elif isinstance(value, ast.Name):
                    found |= _keys_of(program, function, value.id, 10**9, deep=False)
    return {key: value for key, value in found.items() if isinstance(value, ast.Call | ast.BinOp)}


def _literal(value: ast.Dict) -> dict[str, ast.expr]:
    return {
        key.value: one
        for key, one in zip(value.keys, value.values, strict=True)
        if isinstance(key, ast.Constant) and isinstance(key.value, str)
    }


def _weights_of(program: Program, name: str) -> dict[str, float]:
    """Numbers of a dictionary of that name that is written out somewhere, also inside a configuration."""
    found: list[dict[str, float]] = []
    for tree in program.trees.values():
        for one in walk(tree):
            values: list[ast.expr] = []
            if isinstance(one, ast.Assign) and name in map(name_of, one.targets):
                values = [one.value]
            elif isinstance(one, ast.Dict):
                values = [value for key, value in _literal(one).items() if key == name]
            elif isinstance(one, ast.keyword) and one.arg == name:
                values = [one.value]
            for value in values:
                numbers = {
                    key: part.value
                    for key, part in (_literal(value) if isinstance(value, ast.Dict) else {}).items()
                    if isinstance(part, ast.Constant) and isinstance(part.value, int | float)
                }
                found += [numbers] if numbers else []
    return found[0] if len(found) == 1 else {}


def _only_shown(program: Program, scope: Scope, name: str, key: str) -> bool:
    """A term is shown, by its key or with all others, and goes into nothing else."""
    parents = parents_of([scope])
    whole = False
    for one in inside(scope):
        if isinstance(one, ast.Subscript) and name_of(one.value) == name and isinstance(one.ctx, ast.Load):
            taken = isinstance(one.slice, ast.Constant) and one.slice.value == key
            if taken and not _is_shown(one, parents):
                return False
            whole = whole or taken
        elif isinstance(one, ast.Name) and one.id == name and isinstance(one.ctx, ast.Load):
            parent = parents.get(id(one))
            if isinstance(parent, ast.Attribute):
                if parent.attr == "values":
                    return False  # summed up, perhaps
                whole = whole or parent.attr == "items"
            elif not isinstance(parent, ast.Subscript | ast.Return):
                return False
            whole = whole or isinstance(parent, ast.Return)
    return whole


READERS = (term_left_out, key_left_out)
