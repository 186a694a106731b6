"""Best weights that are kept while training, and brought back in one branch only, or never."""

from __future__ import annotations

import ast
from collections.abc import Iterator

from traindx.watch.reading.program import (
    ORDERED,
    Function,
    Program,
    Scope,
    Slip,
    above,
    name_of,
    parents_of,
    shown,
    words,
)
from traindx.watch.runtime.syntax import inside, walk

STOPS = frozenset({"stop", "stopped", "stopping", "early", "halt", "patience"})
COPIES = frozenset({"deepcopy", "clone", "copy", "cpu"})
BRINGS_BACK = frozenset({"load_state_dict", "load", "load_weights", "load_checkpoint", "load_model", "restore"})


def best_weights_left_behind(program: Program) -> Iterator[Slip]:
    """``if score > best: kept = deepcopy(net.state_dict())``, and ``kept`` is loaded at an early stop only."""
    if not program.names["state_dict"] or not COPIES & program.names.keys():
        return
    for file, symbol, scope in program.scopes():
        for statement, kept, owner in _keeps(program, scope):
            trees: list[ast.AST] = list(program.trees.values()) if isinstance(kept, ast.Attribute) else [scope]
            parents = parents_of(trees)
            reads = [one for tree in trees for one in walk(tree) if _reads(one, kept)]
            reads = [one for one in reads if not _asks_whether(one, parents)]
            if not reads:
                yield from _never(file, symbol, scope, statement, kept, owner, program, parents)
                continue
            loads = [parents.get(id(one)) for one in reads]
            if not all(isinstance(one, ast.Call) and name_of(one.func) == "load_state_dict" for one in loads):
                continue
            tests = [_stops(program, one, parents) for one in loads if one is not None]
            places = {id(one): (name, where) for name, where, tree in program.scopes() for one in inside(tree)}
            load, test = loads[0], tests[0]
            if load is not None and test is not None and all(tests):
                where, around = places.get(id(load), (file, symbol))
                yield Slip(
                    "best-in-one-branch",
                    shown(load),
                    f"if {shown(test)}",
                    where,
                    load.lineno,  # type: ignore[attr-defined]
                    around,
                    test.lineno,
                    name_of(kept),
                )


def _keeps(program: Program, scope: Scope) -> Iterator[tuple[ast.Assign, ast.Name | ast.Attribute, str]]:
    """Copies of weights that are made where a score is better than another one; with the network's name."""
    for one in inside(scope):
        if not isinstance(one, ast.If) or not _ordered(one.test):
            continue
        for statement in one.body:
            target = statement.targets[0] if isinstance(statement, ast.Assign) and len(statement.targets) == 1 else None
            if not isinstance(statement, ast.Assign) or not isinstance(target, ast.Name | ast.Attribute):
                continue
            calls = [part for part in walk(statement.value) if isinstance(part, ast.Call)]
            states = [
                part.func.value
                for part in calls
                if isinstance(part.func, ast.Attribute) and part.func.attr == "state_dict"
            ]
            if len(states) == 1 and {name_of(part.func) for part in calls} & COPIES:
                yield statement, target, ast.unparse(states[0])


def _ordered(test: ast.expr) -> bool:
    return any(isinstance(one, ast.Compare) and isinstance(one.ops[0], ORDERED) for one in walk(test))


def _reads(node: ast.AST, kept: ast.Name | ast.Attribute) -> bool:
    if isinstance(kept, ast.Attribute):
        said = isinstance(node, ast.Constant) and node.value == kept.attr
        return said or (isinstance(node, ast.Attribute) and node.attr == kept.attr and isinstance(node.ctx, ast.Load))
    shared = isinstance(node, ast.Global | ast.Nonlocal) and kept.id in node.names
    return shared or (isinstance(node, ast.Name) and node.id == kept.id and isinstance(node.ctx, ast.Load))


def _asks_whether(node: ast.AST, parents: dict[int, ast.AST]) -> bool:
    """``if kept:``, ``kept is not None``."""
    parent = parents.get(id(node))
    return isinstance(parent, ast.Compare) or (isinstance(parent, ast.If) and parent.test is node)


def _stops(program: Program, load: ast.AST, parents: dict[int, ast.AST]) -> ast.expr | None:
    """The test of the branch of an early stop that a call stands in; None where it is reached otherwise as well."""
    around = list(above(load, parents))
    below = load
    for number, one in enumerate(around):
        if isinstance(one, Function):
            return None
        if isinstance(one, ast.If) and any(below is part for part in one.body):
            loops = [up for up in around[number:] if isinstance(up, ast.For | ast.While | Function)]
            loop = loops[0] if loops else None
            ends = any(isinstance(part, ast.Break | ast.Return) for part in one.body)
            said = {part for name in map(name_of, walk(one.test)) for part in words(name)}
            if isinstance(loop, ast.For | ast.While) and ends:
                scope = next((up for up in around if isinstance(up, Function | ast.Module)), None)
                return one.test if scope is not None and _goes_on(scope, loop, load) else None
            if not isinstance(loop, ast.For | ast.While) and _ordered(one.test) and "patience" in said:
                return one.test
            if not isinstance(loop, ast.For | ast.While) and _is_event(program, one.test) and not one.orelse:
                return one.test
        below = one
    return None


def _goes_on(scope: ast.AST, loop: ast.For | ast.While, load: ast.AST) -> bool:
    """The loop ends by itself as well, and the network is used behind it, without weights being loaded there."""
    endless = isinstance(loop, ast.While) and isinstance(loop.test, ast.Constant)
    if endless or loop.orelse or (isinstance(loop, ast.For) and "count" in ast.unparse(loop.iter)):
        return False
    owner = load.func.value if isinstance(load, ast.Call) and isinstance(load.func, ast.Attribute) else None
    return owner is not None and _used_after(scope, loop, ast.unparse(owner)) is not None


def _used_after(scope: ast.AST, loop: ast.stmt, owner: str) -> ast.stmt | None:
    """A statement behind a loop that uses the network; None where weights are loaded there."""
    end = loop.end_lineno or loop.lineno
    after = [one for one in walk(scope) if isinstance(one, ast.stmt) and one.lineno > end]
    calls = [one for part in after for one in walk(part) if isinstance(one, ast.Call)]
    if any(name_of(one.func) in BRINGS_BACK or "load" in words(name_of(one.func)) for one in calls):
        return None
    for part in after:
        if isinstance(part, ast.Expr | ast.Assign | ast.Return | ast.AugAssign):
            for one in walk(part):
                if isinstance(one, ast.Name | ast.Attribute) and ast.unparse(one) == owner:
                    return part
    return None


def _is_event(program: Program, test: ast.expr) -> bool:
    """A name that says stop and that is given its value where patience is out, or next to ``break``."""
    for one in walk(test):
        name = name_of(one) if isinstance(one, ast.Name | ast.Attribute) else ""
        if not set(words(name)) & STOPS:
            continue
        for _, _, scope in program.scopes():
            for branch in inside(scope):
                if not isinstance(branch, ast.If) or not _ordered(branch.test):
                    continue
                given = [target for part in branch.body if isinstance(part, ast.Assign) for target in part.targets]
                if name in map(name_of, given):
                    return True
    return False


def _never(
    file: str,
    symbol: str,
    scope: Scope,
    statement: ast.Assign,
    kept: ast.Name | ast.Attribute,
    owner: str,
    program: Program,
    parents: dict[int, ast.AST],
) -> Iterator[Slip]:
    """Nothing reads the copy, and the network is used behind the loop."""
    name = name_of(kept)
    if isinstance(kept, ast.Attribute) or (isinstance(scope, ast.Module) and program.read[name]):
        return
    loops = [one for one in above(statement, parents) if isinstance(one, ast.For | ast.While)]
    used = _used_after(scope, loops[-1], owner) if loops else None
    if used is not None:
        where = file, statement.lineno, symbol, used.lineno
        yield Slip("best-never-loaded", shown(statement), shown(used), *where, was=name)


READERS = (best_weights_left_behind,)
