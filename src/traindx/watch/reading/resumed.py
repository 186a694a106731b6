"""Where a program goes on with an earlier training: the number of the epoch is taken from what was loaded."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass

from traindx.watch.reading.program import Function, Program, Scope, above, name_of, parents_of, words
from traindx.watch.runtime.syntax import inside, walk

COUNTS = frozenset({"epoch", "epochs", "step", "steps", "iteration", "iterations", "iter", "iters", "it", "round"})


@dataclass
class Resumed:
    """A place that takes the number of the epoch from what was loaded."""

    name: str
    attribute: bool
    scope: Scope
    statement: ast.stmt
    file: str
    symbol: str


class Resuming:
    """What is looked up several times in one program."""

    def __init__(self, program: Program) -> None:
        self.program = program
        self.opaque = False
        self.loaded: set[str] = set()
        self.file_of = {id(scope): file for file, _, scope in program.scopes()}
        self.parents = parents_of(program.trees.values())

    def above(self, node: ast.AST) -> Iterator[ast.AST]:
        """Nodes around a node, the nearest first."""
        return above(node, self.parents)

    def resumed(self) -> Iterator[Resumed]:
        """Places that give a counter of epochs or steps a value from a loaded file."""
        giving: dict[int, set[int | None]] = {}
        for file, symbol, scope in self.program.scopes():
            loaded, taken = self._loaded(scope)
            if not loaded and not self._load_calls(scope):
                continue
            for one in inside(scope):
                if isinstance(one, ast.For):
                    yield from self._by_name(file, symbol, scope, one, loaded)
                elif isinstance(one, ast.Assign):
                    for target, value in pairs(one):
                        if _counts(target, value) and self._from_load(value, loaded):
                            yield Resumed(name_of(target), isinstance(target, ast.Attribute), scope, one, file, symbol)
                elif isinstance(one, ast.Return) and one.value is not None and isinstance(scope, Function):
                    parts = one.value.elts if isinstance(one.value, ast.Tuple) else [one.value]
                    giving[id(scope)] = {
                        place if len(parts) > 1 else None
                        for place, part in enumerate(parts)
                        if self._from_load(part, loaded) or (isinstance(part, ast.Name) and part.id in taken)
                    }
        if giving:
            yield from self._given_back(giving)

    def _given_back(self, giving: dict[int, set[int | None]]) -> Iterator[Resumed]:
        """``net, start_epoch = resume(file)``, where ``resume`` gives back an entry of what it loaded."""
        for file, symbol, scope in self.program.scopes():
            for one in inside(scope):
                call = one.value if isinstance(one, ast.Assign) and len(one.targets) == 1 else None
                function = self.program.called(call) if isinstance(call, ast.Call) else None
                if function is None or not giving.get(id(function)) or not isinstance(one, ast.Assign):
                    continue
                targets = one.targets[0].elts if isinstance(one.targets[0], ast.Tuple) else [one.targets[0]]
                for place, target in enumerate(targets):
                    if (place if len(targets) > 1 else None) in giving[id(function)] and _counts(target):
                        yield Resumed(name_of(target), isinstance(target, ast.Attribute), scope, one, file, symbol)

    def _by_name(self, file: str, symbol: str, scope: Scope, loop: ast.For, loaded: set[str]) -> Iterator[Resumed]:
        """``for name in ("epoch", "history"): setattr(self, name, checkpoint[name])``."""
        for call in walk(loop):
            if not isinstance(call, ast.Call) or name_of(call.func) != "setattr" or len(call.args) < 3:
                continue
            names = self._texts(loop.iter)
            if names and name_of(call.args[1]) == name_of(loop.target) and self._from_load(call.args[2], loaded):
                for name in names:
                    if set(words(name)) & COUNTS:
                        yield Resumed(name, True, scope, loop, file, symbol)

    def _texts(self, node: ast.expr) -> list[str]:
        """Texts of a tuple or a list, written here or under a name that is given a value once; [] where not told."""
        if isinstance(node, ast.Tuple | ast.List):
            texts = [one.value for one in node.elts if isinstance(one, ast.Constant) and isinstance(one.value, str)]
            return texts if len(texts) == len(node.elts) else []
        name = name_of(node)
        given = [
            one.value for tree in self.program.trees.values() for one in walk(tree)
            if isinstance(one, ast.Assign) and name and name in map(name_of, one.targets)
        ]  # fmt: skip
        return self._texts(given[0]) if len(given) == 1 and not isinstance(given[0], ast.Name | ast.Attribute) else []

    def _load_calls(self, scope: Scope) -> list[ast.Call]:
        return [one for one in inside(scope) if isinstance(one, ast.Call) and self._is_load(one)]

    def _is_load(self, node: ast.AST) -> bool:
        """``torch.load(...)``, or an own function that gives back nothing but one."""
        if not isinstance(node, ast.Call):
            return False
        if name_of(node.func) == "load" and isinstance(node.func, ast.Attribute):
            return name_of(node.func.value) in ("torch", "pickle")
        function = self.program.called(node)
        if function is None or function.name == "__init__":
            return False
        returned = [one.value for one in inside(function) if isinstance(one, ast.Return)]
        return bool(returned) and all(
            isinstance(one, ast.Call) and ast.unparse(one.func) == "torch.load" for one in returned
        )

    def _loaded(self, scope: Scope) -> tuple[set[str], set[str]]:
        """Names of what was loaded, and of single values of it; a use that cannot be followed makes it opaque."""
        loaded: set[str] = set()
        for one in inside(scope):
            for target, value in pairs(one) if isinstance(one, ast.Assign) else ():
                if isinstance(target, ast.Name) and self._is_load(value):
                    loaded.add(target.id)
        self.loaded |= loaded
        taken = {
            target.id for one in inside(scope) if isinstance(one, ast.Assign)
            for target, value in pairs(one) if isinstance(target, ast.Name) and self._from_load(value, loaded)
        }  # fmt: skip
        given: dict[str, list[ast.expr]] = {name: [] for name in loaded}
        for one in inside(scope) if loaded else ():
            for target, value in pairs(one) if isinstance(one, ast.Assign) else ():
                if isinstance(target, ast.Name) and target.id in loaded:
                    given[target.id].append(value)
            if isinstance(one, ast.Name) and one.id in loaded and isinstance(one.ctx, ast.Load):
                before = [value for value in given[one.id] if value.lineno < one.lineno]
                if before and self._is_load(before[-1]):
                    self.opaque = self.opaque or not self._by_key(one)
        return loaded, taken

    def _by_key(self, node: ast.Name) -> bool:
        """What was loaded is asked for one entry, or for whether it has it, or handed on as weights."""
        parent = self.parents[id(node)]
        if isinstance(parent, ast.Subscript):
            return isinstance(parent.slice, ast.Constant | ast.Name | ast.JoinedStr)
        if isinstance(parent, ast.Attribute):
            return parent.attr in ("get", "keys", "pop")
        if isinstance(parent, ast.Call):
            return name_of(parent.func) in ("load_state_dict", "isinstance", "print", "len")
        return isinstance(parent, ast.Compare | ast.Delete | ast.If | ast.FormattedValue)

    def _from_load(self, node: ast.AST, loaded: set[str]) -> bool:
        """An entry of what was loaded, with arithmetic around it."""
        for one in walk(node):
            held = one.value if isinstance(one, ast.Subscript) else None
            if isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute) and one.func.attr in ("get", "pop"):
                held = one.func.value
            if held is not None and ((isinstance(held, ast.Name) and held.id in loaded) or self._is_load(held)):
                return True
        return False


def nodes_of(program: Program) -> Iterator[ast.AST]:
    """All nodes of all sources."""
    for tree in program.trees.values():
        yield from walk(tree)


def all_fields(node: ast.AST) -> bool:
    """``self.__dict__``, ``vars(self)``, ``locals()``: variables and fields are reached without their names."""
    if isinstance(node, ast.Attribute):
        return node.attr == "__dict__" and name_of(node.value) == "self"
    if isinstance(node, ast.Call) and name_of(node.func) in ("vars", "locals", "globals"):
        return not node.args or name_of(node.args[0]) == "self"
    return isinstance(node, Function) and node.name in ("__getstate__", "__setstate__")


def pairs(statement: ast.Assign) -> list[tuple[ast.expr, ast.expr]]:
    """Targets and what each is given; those of a tuple one by one where both sides are written out."""
    found: list[tuple[ast.expr, ast.expr]] = []
    for target in statement.targets:
        if isinstance(target, ast.Tuple) and isinstance(statement.value, ast.Tuple):
            if len(target.elts) == len(statement.value.elts):
                found += zip(target.elts, statement.value.elts, strict=True)
        else:
            found.append((target, statement.value))
    return found


def _counts(target: ast.expr, value: ast.expr | None = None) -> bool:
    """A name or a field for the number of an epoch, as it says itself or the key of its value does."""
    keys = [one.value for one in walk(value) if isinstance(one, ast.Constant)] if value is not None else []
    said = {part for name in (name_of(target), *keys) if isinstance(name, str) for part in words(name)}
    return isinstance(target, ast.Name | ast.Attribute) and bool(said & COUNTS)
