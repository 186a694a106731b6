"""Where a figure that a line prints or logs comes from: followed by name through assignments and own functions."""

from __future__ import annotations

import ast
import re
from collections.abc import Sequence
from dataclasses import dataclass

from traindx.core.figure_ranges import range_of
from traindx.core.metric_names import words
from traindx.watch.reading.program import Function, Program, Scope, name_of, names_in, shown
from traindx.watch.reading.shown_text import phrase_of, pieces
from traindx.watch.runtime.syntax import children, inside, walk

PASSES = frozenset({"item", "float", "round", "cpu", "numpy", "detach", "tolist"})
ARITHMETIC = frozenset({
    "mean", "sum", "nanmean", "nansum", "median", "max", "min", "average", "stack", "cat", "concatenate", "tensor",
    "array", "asarray", "len", "float", "int", "round", "abs", "sqrt", "exp", "log", "log10", "square", "pow", "item",
    "cpu", "numpy", "detach", "tolist", "size", "numel", "argmax", "sigmoid", "softmax", "to", "bool", "long", "double",
    "astype", "type", "view", "reshape", "flatten", "permute", "squeeze", "unsqueeze", "zeros", "ones", "range",
    "enumerate", "clamp", "clip", "dot", "norm", "eq", "logical_and", "logical_or", "logical_not", "any", "all",
    "count_nonzero", "where", "append", "extend", "items", "values", "keys", "zip", "list", "std", "var", "mse_loss",
    "l1_loss", "roc_auc_score", "average_precision_score", "f1_score", "accuracy_score", "jaccard_score", "cuda",
    "conv2d", "conv3d", "avg_pool2d", "avg_pool3d", "pad", "trapz", "trapezoid", "cumsum", "sort", "argsort", "diff",
    "linspace", "copy", "clone", "prod", "maximum", "minimum", "structural_similarity", "convolve", "gaussian_filter",
    "uniform_filter", "one_hot",
})  # fmt: skip
"""Functions of libraries that give no percent by themselves."""
COUNTERS = frozenset({"i", "idx", "step", "epoch", "iteration", "iter", "it", "batch", "progress", "done", "elapsed"})
LOSSES = frozenset({"loss", "losses", "criterion", "crit", "objective", "penalty"})
MOST_STEPS = 12
BY_POSITION = frozenset({"CrossEntropyLoss", "NLLLoss"})  # their first argument is the weight of each class
_UNIT = re.compile(r"^\s*%|%\}|\}\s*%|%%")


@dataclass
class Origin:
    """Where a figure comes from.

    Attributes:
        file: File of the line that computes it.
        line: That line.
        symbol: Function it is in.
        source: The expression.
        percent: Something that may be it is multiplied by 100, or formatted as percent.
        term: It is called a loss on the way, or added to one.
    """

    file: str
    line: int
    symbol: str
    source: str
    percent: bool
    term: bool


def origin_of(program: Program, file: str, line: int, name: str) -> Origin | None:
    """Where the figure of that name on that line comes from; None where the source does not tell."""
    for known, symbol, scope in reversed(program.scopes()):
        if known != file or not _covers(scope, line):
            continue
        calls = [one for one in inside(scope) if isinstance(one, ast.Call) and _covers(one, line)]
        for call in sorted(calls, key=lambda one: (one.end_lineno or one.lineno) - one.lineno):
            found = _named(call, name)
            if found is not None:
                return _Trace(program, file, symbol, scope).follow(found)
        return None
    return None


def origin_of_argument(program: Program, file: str, line: int, names: tuple[str, ...]) -> Origin | None:
    """Where what a call on that line is given under one of the names comes from; None where that is not told."""
    for known, symbol, scope in reversed(program.scopes()):
        if known != file or not _covers(scope, line):
            continue
        calls = [one for one in inside(scope) if isinstance(one, ast.Call) and _covers(one, line)]
        given = [one.value for call in calls for one in call.keywords if one.arg in names]
        given += [call.args[0] for call in calls if name_of(call.func) in BY_POSITION and call.args]
        return _Trace(program, file, symbol, scope).follow(given[0]) if len(given) == 1 else None
    return None


def _covers(node: ast.AST, line: int) -> bool:
    first = int(getattr(node, "lineno", 0))
    return isinstance(node, ast.Module) or first <= line <= int(getattr(node, "end_lineno", 0) or first)


def _named(call: ast.Call, name: str) -> ast.expr | None:
    """The expression that a call shows under a name."""
    if name_of(call.func) == "add_scalar":
        return call.args[1] if len(call.args) > 1 else None
    found = [one for before, one in pieces(call.args) if range_of(phrase_of(before)) and _same(phrase_of(before), name)]
    return found[0] if len(found) == 1 else None


def _same(first: str, second: str) -> bool:
    return words(first) == words(second)


class _Trace:
    """Follows one expression back."""

    def __init__(self, program: Program, file: str, symbol: str, scope: Scope) -> None:
        self.program = program
        self.file, self.symbol, self.scope = file, symbol, scope
        self.visited: list[Scope] = [scope]
        self.term = False

    def follow(self, node: ast.expr) -> Origin | None:
        """To the line that computes it."""
        line = node.lineno
        for _ in range(MOST_STEPS):
            node = _plain(node)
            self._look(node)
            found = self._step(node, line)
            if found is None:
                break
            node, line = found
        if isinstance(node, ast.Name | ast.Subscript | ast.Attribute):
            return None  # a parameter, a field, what a loop gives: nothing computes it here
        return Origin(self.file, line, self.symbol, shown(node), self._percent() or self._foreign(node), self.term)

    def _foreign(self, node: ast.expr) -> bool:
        """Somebody else's function takes part in it, which may give percent."""
        parts: list[ast.AST] = [node]
        known: set[str] = set()
        while parts:
            part = parts.pop()
            if isinstance(part, ast.Compare):
                continue
            if isinstance(part, ast.Call):
                called = name_of(part.func)
                if called in self.program.functions or called in self.program.classes:
                    continue  # looked through for a hundred with all that is gone through
                if called not in ARITHMETIC:
                    return True
            elif isinstance(part, ast.Name) and part.id not in known:
                known.add(part.id)
                parts += _values(inside(self.scope), part.id)
            parts += children(part)
        return False

    def _look(self, node: ast.expr) -> None:
        named = [] if isinstance(node, ast.Dict) else [name_of(one) for one in walk(node)]
        said = {word for name in named for word in words(name)}
        self.term = self.term or bool(said & LOSSES)
        if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
            self.term = True  # turned round on purpose, to be made small
        if isinstance(node, ast.Name):
            for one in inside(self.scope):
                if isinstance(one, ast.Assign | ast.AugAssign):
                    targets = one.targets if isinstance(one, ast.Assign) else [one.target]
                    loss = any(set(words(name_of(target))) & LOSSES for target in targets)
                    if loss and node.id in names_in(one.value):
                        self.term = True
                elif isinstance(one, ast.Attribute) and one.attr == "backward" and node.id in names_in(one.value):
                    self.term = True

    def _step(self, node: ast.expr, line: int) -> tuple[ast.expr, int] | None:
        if isinstance(node, ast.Name):
            return self._assigned(node.id, line)
        if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant):
            return self._entry(node.value, node.slice.value, line)
        if isinstance(node, ast.Call):
            return self._returned(node, None)
        return None

    def _assigned(self, name: str, line: int) -> tuple[ast.expr, int] | None:
        """The last value that a name was given before a line."""
        found: list[tuple[int, ast.expr, int | None]] = []
        for one in inside(self.scope):
            if isinstance(one, ast.AugAssign) and isinstance(one.target, ast.Name) and one.target.id == name:
                found.append((one.lineno, _as_sum(one), None))
            elif isinstance(one, ast.Assign):
                for target in one.targets:
                    if isinstance(target, ast.Name) and target.id == name:
                        found.append((one.lineno, one.value, None))
                    elif isinstance(target, ast.Tuple):
                        places = [place for place, part in enumerate(target.elts) if name_of(part) == name]
                        if places and not any(isinstance(part, ast.Starred) for part in target.elts):
                            found.append((one.lineno, one.value, places[0]))
        before = [one for one in found if one[0] < line]
        if not before:
            return None
        where, value, place = max(before, key=lambda one: one[0])
        if place is None:
            return value, where
        if isinstance(value, ast.Tuple) and len(value.elts) > place:
            return value.elts[place], where
        return self._returned(value, place) if isinstance(value, ast.Call) else None

    def _returned(self, call: ast.Call, place: int | str | None) -> tuple[ast.expr, int] | None:
        """What the last ``return`` of an own function gives."""
        function = self.program.called(call)
        if function is None or function in self.visited or function.name == "__init__":
            return None
        returns = [one for one in inside(function) if isinstance(one, ast.Return) and one.value is not None]
        if len(returns) != 1:
            return None
        value = returns[0].value
        assert value is not None
        for file, symbol, scope in self.program.scopes():
            if scope is function:
                self.file, self.symbol, self.scope = file, symbol, scope
        self.visited.append(function)
        if isinstance(place, int):
            several = isinstance(value, ast.Tuple) and len(value.elts) > place
            return (value.elts[place], value.lineno) if isinstance(value, ast.Tuple) and several else None
        if isinstance(place, str):
            return self._entry(value, place, value.lineno)
        return value, value.lineno

    def _entry(self, holder: ast.expr, key: object, line: int) -> tuple[ast.expr, int] | None:
        """What stands under a key."""
        if isinstance(holder, ast.Dict):
            found = [value for one, value in zip(holder.keys, holder.values, strict=True) if _key(one) == key]
            return (found[0], found[0].lineno) if len(found) == 1 else None
        if isinstance(holder, ast.Call):
            return self._returned(holder, key) if isinstance(key, int | str) else None
        if not isinstance(holder, ast.Name):
            return None
        stores = [
            one
            for one in inside(self.scope)
            if isinstance(one, ast.Assign)
            and isinstance(one.targets[0], ast.Subscript)
            and name_of(one.targets[0].value) == holder.id
            and _key(one.targets[0].slice) == key
        ]
        if stores:
            return stores[-1].value, stores[-1].lineno
        given = self._assigned(holder.id, line)
        return None if given is None else self._entry(given[0], key, given[1])

    def _percent(self) -> bool:
        """Something that is no counter is multiplied by 100 in what was gone through, or in what that calls."""
        scopes, known = list(self.visited), {id(one) for one in self.visited}
        while scopes:
            scope = scopes.pop()
            for node in inside(scope):
                if _hundred(node):
                    return True
                if isinstance(node, ast.Name | ast.Attribute):
                    for one in self.program.functions.get(name_of(node), ()):
                        if id(one) not in known:
                            known.add(id(one))
                            scopes.append(one)
                    for owner in self.program.classes.get(name_of(node), ()):
                        for method in owner.body:
                            if isinstance(method, Function) and id(method) not in known:
                                known.add(id(method))
                                scopes.append(method)
        return False


def _values(nodes: Sequence[ast.AST], name: str) -> list[ast.expr]:
    """What a name is given, and what is put into it."""
    found: list[ast.expr] = []
    for one in nodes:
        if isinstance(one, ast.Assign):
            found += [one.value] if name in {part.id for part in one.targets if isinstance(part, ast.Name)} else []
        elif isinstance(one, ast.AugAssign):
            found += [one.value] if name_of(one.target) == name else []
        elif isinstance(one, ast.Call) and isinstance(one.func, ast.Attribute) and name_of(one.func.value) == name:
            found += one.args if one.func.attr in ("append", "extend") else []
    return found


def _as_sum(one: ast.AugAssign) -> ast.expr:
    """``a += b`` as ``a + b``."""
    return ast.copy_location(ast.BinOp(ast.Name(name_of(one.target), ast.Load()), one.op, one.value), one)


def _key(node: ast.expr | None) -> object:
    return node.value if isinstance(node, ast.Constant) else None


def _plain(node: ast.expr) -> ast.expr:
    """An expression without ``.item()``, ``float()`` and their like, and without ``... if wanted else None``."""
    while isinstance(node, ast.IfExp) or (isinstance(node, ast.Call) and name_of(node.func) in PASSES):
        if isinstance(node, ast.IfExp):
            kept = [
                one for one in (node.body, node.orelse) if not (isinstance(one, ast.Constant) and one.value is None)
            ]
            if len(kept) != 1:
                break
            node = kept[0]
        elif isinstance(node.func, ast.Attribute) and not node.args:
            node = node.func.value
        elif node.args:
            node = node.args[0]
        else:
            break
    return node


def _hundred(node: ast.AST) -> bool:
    """``100 * x``, ``x *= 100``, ``scale = 100``, a text with a sign of percent behind a field."""
    found = False
    if isinstance(node, ast.AugAssign):
        found = isinstance(node.op, ast.Mult) and _is_hundred(node.value)
    elif isinstance(node, ast.BinOp) and isinstance(node.op, ast.Mult):
        counts = bool({word for name in names_in(node) for word in words(name)} & COUNTERS)
        found = (_is_hundred(node.left) or _is_hundred(node.right)) and not counts
    elif isinstance(node, ast.Call):
        found = name_of(node.func) in ("mul", "mul_", "multiply") and any(_is_hundred(one) for one in node.args)
    elif isinstance(node, ast.Constant) and isinstance(node.value, str):
        found = bool(_UNIT.search(node.value)) or "percent" in node.value.lower()
    elif isinstance(node, ast.FormattedValue) and node.format_spec is not None:
        found = "%" in ast.unparse(node.format_spec)
    elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Constant):
        named = {word for one in node.targets for word in words(name_of(one))}
        found = _is_hundred(node.value) and bool(named & {"scale", "percent", "factor", "hundred", "pct"})
    return found


def _is_hundred(node: ast.expr) -> bool:
    known = node.value if isinstance(node, ast.Constant) else None
    if isinstance(node, ast.BinOp):  # 100 * x / n
        return isinstance(node.op, ast.Mult) and (_is_hundred(node.left) or _is_hundred(node.right))
    return (isinstance(known, int | float) and known == 100) or name_of(node).lower() in ("scale", "percent", "hundred")
