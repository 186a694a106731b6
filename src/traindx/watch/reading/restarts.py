"""The best figure so far is not part of what a training goes on with after a restart."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import dataclass, field

from traindx.watch.reading.program import ORDERED, Function, Program, Scope, Slip, is_number, name_of, shown
from traindx.watch.reading.resumed import Resumed, Resuming, all_fields, nodes_of, pairs
from traindx.watch.runtime.syntax import inside, walk

SHOWN = frozenset({
    "print", "log", "info", "debug", "warning", "write", "add_scalar", "set_postfix", "set_description", "format",
    "echo", "set_postfix_str", "log_metric", "print_log", "printf",
})  # fmt: skip
NUMBERS = frozenset({"max", "min", "round", "float", "abs", "str"})
MOST_CALLS = 3  # a save that is further away than so many calls is not looked for


@dataclass
class _Best:
    """The name under which the best figure is kept: a variable of a scope, or a field of any object."""

    name: str
    trees: list[ast.AST]
    attribute: bool
    begins: list[tuple[str, ast.stmt]] = field(default_factory=list)
    keys: list[str] = field(default_factory=list)
    against: set[str] = field(default_factory=set)


def best_begins_again(program: Program) -> Iterator[Slip]:
    """``start = checkpoint["epoch"]`` and ``best = 0``; ``if score > best: best = score; torch.save(...)``."""
    if not program.names["load"] or not program.names["save"] or any(map(all_fields, nodes_of(program))):
        return
    view = _View(program)
    resumed = list(view.resumed())
    if not resumed or view.opaque:
        return
    told: set[int] = set()
    for scope, gate, best_node in view.gates():
        best = view.best(scope, best_node)
        if best is None:
            continue
        for one in resumed:
            if id(one.statement) not in told and view.goes_on(one, scope, gate, best):
                told.add(id(one.statement))
                file, begin = best.begins[-1]
                yield Slip(
                    "best-begins-again",
                    shown(one.statement),
                    shown(begin),
                    one.file,
                    one.statement.lineno,
                    one.symbol,
                    begin.lineno if file == one.file else 0,
                    ast.unparse(best_node),
                )


class _View(Resuming):
    """What is looked up several times in one program."""

    # what the best is

    def gates(self) -> Iterator[tuple[Scope, ast.AST, ast.Name | ast.Attribute]]:
        """Comparisons with a best figure so far that decide whether something is saved."""
        for _, _, scope in self.program.scopes():
            for one in inside(scope):
                if isinstance(one, ast.If):
                    block = [*one.body, *one.orelse]
                    for best in _compared(one.test):
                        if any(_gives(part, best) for part in block) and self._saves(block):
                            yield scope, one, best
                elif isinstance(one, ast.Assign) and isinstance(one.value, ast.Compare):
                    flag = name_of(one.targets[0])
                    used = flag and any(self._saves_if(part, flag) for part in inside(scope))
                    for best in _compared(one.value) if used else ():
                        if any(_gives(part, best) for part in inside(scope)):
                            yield scope, one, best

    def _saves_if(self, node: ast.AST, flag: str) -> bool:
        if isinstance(node, ast.If):
            return any(name_of(one) == flag for one in walk(node.test)) and self._saves(node.body)
        given = [*node.args, *(one.value for one in node.keywords)] if isinstance(node, ast.Call) else []
        return any(name_of(one) == flag for one in given) and self._saves([node])

    def _saves(self, nodes: list[ast.AST] | list[ast.stmt], depth: int = MOST_CALLS) -> bool:
        """``torch.save``, or an own function that comes to it."""
        for node in nodes:
            for call in walk(node):
                if not isinstance(call, ast.Call):
                    continue
                if ast.unparse(call.func) == "torch.save":
                    return True
                function = self.program.called(call) if depth else None
                if function is not None and function.name != "__init__" and self._saves(function.body, depth - 1):
                    return True
        return False

    def best(self, scope: Scope, node: ast.Name | ast.Attribute) -> _Best | None:
        """All that is known of the best figure; None where it is given something else, or goes somewhere."""
        attribute, name = isinstance(node, ast.Attribute), name_of(node)
        trees: list[ast.AST] = list(self.program.trees.values())
        if not attribute:
            shared = any(isinstance(one, ast.Global | ast.Nonlocal) and name in one.names for one in walk(scope))
            if isinstance(scope, Function) and not shared:
                trees = [scope]
            else:
                trees = [self.program.trees[self.file_of[id(scope)]]]
        best = _Best(name, trees, attribute)
        for tree in trees:
            for test in walk(tree):
                if isinstance(test, ast.Compare) and any(name_of(part) == name for part in _compared(test)):
                    best.against |= {ast.unparse(side) for side in (test.left, *test.comparators)}
        for tree in trees:
            for one in walk(tree):
                mine = isinstance(one, ast.Attribute) and one.attr == name if attribute else (
                    isinstance(one, ast.Name) and one.id == name
                )  # fmt: skip
                if mine and not (
                    self._begins(one, best) if isinstance(one.ctx, ast.Store) else self._harmless(one, best)  # type: ignore[attr-defined]
                ):
                    return None
                if isinstance(one, ast.arg | ast.keyword) and one.arg == name:
                    return None
        return best if best.begins and self._not_taken(best) else None

    def _begins(self, node: ast.AST, best: _Best) -> bool:
        """The best figure is given a constant, or the figure that it was compared with."""
        statement = next((one for one in self.above(node) if isinstance(one, ast.stmt)), None)
        values: list[ast.expr] = []
        if isinstance(statement, ast.Assign):
            values = [value for target, value in pairs(statement) if target is node]
        elif isinstance(statement, ast.AnnAssign) and statement.value is not None:
            values = [statement.value]
        if len(values) != 1 or statement is None:
            return False
        if _is_start(values[0]):
            root = list(self.above(statement))[-1]
            file = next((file for file, tree in self.program.trees.items() if tree is root), "")
            best.begins.append((file, statement))
            return True
        if any(isinstance(one, ast.Name) and one.id in self.loaded for one in walk(values[0])):
            return False
        if _mentions(values[0], node) or ast.unparse(values[0]) in best.against:
            return True
        return any(isinstance(one, ast.If) and _mentions_compared(one.test, node) for one in self.above(statement))

    def _harmless(self, node: ast.AST, best: _Best) -> bool:
        """The best figure is compared, shown, given back at the end, or put under a key of what is saved."""
        below: ast.AST = node
        for one in self.above(node):
            called = name_of(one.func) if isinstance(one, ast.Call) else ""
            if isinstance(one, ast.Compare | ast.JoinedStr | ast.Return) or called in SHOWN:
                return True
            if isinstance(one, ast.Dict):
                return self._under_a_key(one, below, best)
            if isinstance(one, ast.stmt):
                return isinstance(one, ast.Assign) and any(_same(target, node) for target in one.targets)
            if isinstance(one, ast.Call) and called not in NUMBERS:
                return False
            below = one
        return False

    def _under_a_key(self, holder: ast.Dict, value: ast.AST, best: _Best) -> bool:
        if any(isinstance(one, ast.Call) and name_of(one.func) in SHOWN for one in self.above(holder)):
            return True
        keys = [key for key, one in zip(holder.keys, holder.values, strict=True) if one is value]
        texts = [one.value for one in keys if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        best.keys += texts
        return len(texts) == 1

    def _not_taken(self, best: _Best) -> bool:
        """Nothing in the program asks for the name, or for the keys under which it was saved."""
        wanted = {best.name, *best.keys}
        written = sum(best.keys.count(one) for one in set(best.keys))
        seen = sum(
            isinstance(one, ast.Constant) and one.value in wanted and isinstance(one.value, str)
            for tree in self.program.trees.values() for one in walk(tree)
        )  # fmt: skip
        return seen == written

    # how both belong together

    def goes_on(self, resumed: Resumed, scope: Scope, gate: ast.AST, best: _Best) -> bool:
        """The loop that begins with the loaded epoch comes to the comparison, and not to where the best begins."""
        for _, _, other in self.program.scopes():
            for loop in inside(other):
                if not isinstance(loop, ast.For | ast.While) or not self._begins_with(loop, resumed, other):
                    continue
                within = {id(one) for one in walk(loop)}
                reached = self._reached(loop)
                if any(id(begin) in within or id(self._function(begin)) in reached for _, begin in best.begins):
                    continue
                if id(gate) in within:
                    return True
                if isinstance(scope, Function) and id(scope) in reached and not self._called_elsewhere(scope, within):
                    return True
        return False

    def _begins_with(self, loop: ast.For | ast.While, resumed: Resumed, scope: Scope) -> bool:
        """``for epoch in range(start, n)``, ``while self.epoch < n``."""
        if not resumed.attribute and scope is not resumed.scope:
            known = isinstance(scope, Function) and resumed.name in self.program.parameters(scope)
            if not known:
                return False
        tested = loop.iter if isinstance(loop, ast.For) else loop.test
        kind = ast.Attribute if resumed.attribute else ast.Name
        return any(isinstance(one, kind) and name_of(one) == resumed.name for one in walk(tested))

    def _function(self, node: ast.AST) -> ast.AST | None:
        return next((one for one in self.above(node) if isinstance(one, Function)), None)

    def _reached(self, node: ast.AST) -> set[int]:
        """Functions that a piece of the program may come to."""
        found: set[int] = set()
        todo = [node]
        while todo:
            for call in walk(todo.pop()):
                if not isinstance(call, ast.Call):
                    continue
                called = name_of(call.func)
                known = list(self.program.functions.get(called, ()))
                for made in {called, *self.program.made.get(called, ())}:
                    for owner in self.program.classes.get(made, ()):
                        wanted = "__init__" if made == called else "__call__"
                        known += [one for one in owner.body if isinstance(one, Function) and one.name == wanted]
                for one in known:
                    if id(one) not in found:
                        found.add(id(one))
                        todo.append(one)
        return found

    def _called_elsewhere(self, function: Function, within: set[int]) -> bool:
        """The figure may be taken once before the loop, to know what was reached."""
        for tree in self.program.trees.values():
            for call in walk(tree):
                if isinstance(call, ast.Call) and name_of(call.func) == function.name and id(call) not in within:
                    return True
        return False


def _compared(test: ast.expr) -> Iterator[ast.Name | ast.Attribute]:
    """Both sides of comparisons that are names or fields, also with a margin: ``score < self.best + delta``."""
    for one in walk(test):
        if isinstance(one, ast.Compare) and len(one.ops) == 1 and isinstance(one.ops[0], ORDERED):
            for side in (one.left, one.comparators[0]):
                parts = [side.left, side.right] if isinstance(side, ast.BinOp) else [side]
                yield from (part for part in parts if isinstance(part, ast.Name | ast.Attribute))


def _same(first: ast.AST, second: ast.AST) -> bool:
    return isinstance(first, ast.Name | ast.Attribute) and ast.unparse(first) == ast.unparse(second)


def _mentions(value: ast.AST, node: ast.AST) -> bool:
    return any(_same(one, node) for one in walk(value))


def _mentions_compared(test: ast.expr, node: ast.AST) -> bool:
    return any(_same(one, node) for one in _compared(test))


def _gives(part: ast.AST, best: ast.Name | ast.Attribute) -> bool:
    return any(
        isinstance(one, ast.Assign) and any(_same(target, best) for target, _ in pairs(one)) for one in walk(part)
    )


def _is_start(value: ast.expr) -> bool:
    """A number, ``None``, ``float("inf")``, ``np.inf``, and their negatives."""
    if isinstance(value, ast.UnaryOp):
        value = value.operand
    if isinstance(value, ast.Constant):
        return value.value is None or is_number(value.value)
    if isinstance(value, ast.Call):
        return name_of(value.func) == "float" and len(value.args) == 1 and isinstance(value.args[0], ast.Constant)
    return isinstance(value, ast.Attribute) and value.attr.lower() in ("inf", "infinity", "maxsize")


READERS = (best_begins_again,)
