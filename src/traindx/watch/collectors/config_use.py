"""Which keys of a configuration the script's sources ask for, told from the sources alone.

What a loader returns is followed by name: through variables, attributes, arguments and results of the script's own
functions, ``config["a"]["b"]`` and ``config.get("a")``. Wherever it goes somewhere else (``**config``, a loop over its
items, a library's function, a container), all of it counts as asked for: only what is certain is told.
"""

from __future__ import annotations

import ast
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from traindx.watch.runtime.syntax import children

Binding = tuple[str, ...]
READERS = ("load", "safe_load", "full_load", "unsafe_load")
ASKS = ("get", "pop", "setdefault")
SAME = ("copy", "deepcopy", "dict")
HARMLESS = (
    "print", "pprint", "len", "str", "repr", "bool", "type", "isinstance", "id", "dump", "dumps", "safe_dump", "save",
    "info", "debug", "warning", "log", "format", "update", "clear",
)  # fmt: skip
ROUNDS = 12


@dataclass
class Use:
    """What is asked for.

    Attributes:
        asked: Dotted names that are asked for one by one.
        bulk: Dotted names of mappings that go where they cannot be followed; ``""`` is the whole file.
    """

    asked: set[str] = field(default_factory=set)
    bulk: set[str] = field(default_factory=set)

    def covers(self, key: str) -> bool:
        """True if a leaf is asked for, or may be."""
        parts = key.split(".")
        return key in self.asked or any(".".join(parts[:count]) in self.bulk for count in range(len(parts)))


@dataclass(frozen=True)
class _Place:
    """An expression with all that is around it."""

    file: str
    scope: str
    node: ast.AST
    parent: ast.AST | None
    grandparent: ast.AST | None


class _Sources:
    """All places of all sources, and the functions defined in them."""

    def __init__(self, trees: dict[str, ast.Module]) -> None:
        self.places: list[_Place] = []
        self.functions: dict[str, list[tuple[str, str, ast.arguments]]] = {}
        for file, tree in trees.items():
            self._walk(file, "", tree, None, None)

    def _walk(self, file: str, scope: str, node: ast.AST, parent: ast.AST | None, above: ast.AST | None) -> None:
        self.places.append(_Place(file, scope, node, parent, above))
        inner = scope
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            inner = f"{scope}.{node.name}"
            if not isinstance(node, ast.ClassDef):
                name = scope.rpartition(".")[2] if node.name == "__init__" else node.name
                self.functions.setdefault(name, []).append((file, inner, node.args))
        for child in children(node):
            self._walk(file, inner, child, node, parent)


def use_of(trees: dict[str, ast.Module], file: str, line: int, mappings: set[str]) -> Use:
    """What becomes of the configuration that is read at a line.

    Args:
        trees: Syntax trees of all sources of the script's, by file.
        file: The file that reads the configuration.
        line: Its line.
        mappings: Dotted names of all mappings in the configuration, ``""`` among them.
    """
    sources = _Sources(trees)
    calls = [p for p in sources.places if p.file == file and isinstance(p.node, ast.Call) and _reads(p.node, line)]
    if len(calls) != 1:
        return Use(bulk={""})
    follower = _Follower(sources, calls[0].node, mappings)
    for _ in range(ROUNDS):
        if not follower.round():
            return follower.use
    return Use(bulk={""})


def _reads(call: ast.Call, line: int) -> bool:
    return call.lineno <= line <= (call.end_lineno or call.lineno) and name_of(call.func) in READERS


def name_of(function: ast.AST) -> str:
    """The last name of what is called."""
    return function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")


class _Follower:
    def __init__(self, sources: _Sources, read: ast.AST, mappings: set[str]) -> None:
        self.sources, self.read, self.mappings = sources, read, mappings
        self.known: dict[Binding, set[str]] = {}
        self.use = Use()
        self._changed = False

    def round(self) -> bool:
        """Look at every place once; True if something new was learnt."""
        self._changed = False
        for place in self.sources.places:
            if isinstance(place.node, ast.expr):
                for path in self._paths(place.file, place.scope, place.node):
                    if path in self.mappings:
                        self._goes(place, path)
        return self._changed

    # -- what an expression is -----------------------------------------------------------------------------------

    def _paths(self, file: str, scope: str, node: ast.AST) -> set[str]:  # noqa: PLR0911  (one return a kind)
        """Parts of the configuration that an expression may be."""
        if node is self.read:
            return {""}
        if isinstance(node, ast.Name):
            return self._variable(file, scope, node.id) if isinstance(node.ctx, ast.Load) else set()
        if isinstance(node, ast.Attribute):
            return self.known.get(("attribute", node.attr), set()) if isinstance(node.ctx, ast.Load) else set()
        if isinstance(node, ast.Subscript):
            return self._below(self._paths(file, scope, node.value), node.slice)
        if isinstance(node, ast.BoolOp):
            return {path for value in node.values for path in self._paths(file, scope, value)}
        if isinstance(node, ast.IfExp):
            return self._paths(file, scope, node.body) | self._paths(file, scope, node.orelse)
        if isinstance(node, ast.NamedExpr):
            return self._paths(file, scope, node.value)
        if isinstance(node, ast.Call):
            return self._called(file, scope, node)
        if isinstance(node, ast.Dict):  # ``{"depth": 3, **config["loss"]}`` is asked for what the part is asked for
            parts = (value for key, value in zip(node.keys, node.values, strict=True) if key is None)
            return {path for part in parts for path in self._paths(file, scope, part)}
        return set()

    def _called(self, file: str, scope: str, call: ast.Call) -> set[str]:
        name = name_of(call.func)
        if isinstance(call.func, ast.Attribute) and name in (*ASKS, "copy"):
            owner = self._paths(file, scope, call.func.value)
            if owner:
                return owner if name == "copy" else self._below(owner, call.args[0] if call.args else None)
        if name in SAME and len(call.args) == 1:
            return self._paths(file, scope, call.args[0])
        return self.known.get(("result", name), set())

    def _variable(self, file: str, scope: str, name: str) -> set[str]:
        while True:
            found = self.known.get(("variable", file, scope, name))
            if found is not None:
                return found
            if not scope:
                return self.known.get(("global", name), set())
            scope = scope.rpartition(".")[0]

    def _below(self, owners: set[str], key: ast.AST | None) -> set[str]:
        if not isinstance(key, ast.Constant) or not isinstance(key.value, str):
            return set()
        paths = {f"{owner}.{key.value}" if owner else key.value for owner in owners if owner in self.mappings}
        self._learn(self.use.asked, paths)
        return paths

    # -- where it goes -------------------------------------------------------------------------------------------

    def _learn(self, table: set[str], paths: set[str]) -> None:
        if not paths <= table:
            table |= paths
            self._changed = True

    def _bind(self, binding: Binding, path: str) -> None:
        self._learn(self.known.setdefault(binding, set()), {path})

    def _goes(self, place: _Place, path: str) -> None:  # noqa: PLR0911, PLR0912  (one branch a kind of place)
        """A mapping of the configuration stands at a place: follow it, or let all of it count as asked for."""
        node, parent = place.node, place.parent
        if isinstance(parent, ast.Assign | ast.AnnAssign | ast.NamedExpr) and parent.value is node:
            targets = parent.targets if isinstance(parent, ast.Assign) else [parent.target]
            if all(self._stored(place, target, path) for target in targets):
                return
        elif isinstance(parent, ast.Return):
            self._bind(("result", place.scope.rpartition(".")[2]), path)
            return
        elif isinstance(parent, ast.Subscript) and parent.value is node:
            if isinstance(parent.slice, ast.Constant) and isinstance(parent.slice.value, str):
                return
        elif isinstance(parent, ast.Attribute):
            if isinstance(place.grandparent, ast.Call) and self._method(place.grandparent, parent.attr):
                return
        elif isinstance(parent, ast.Compare):
            self._compared(parent, path)
            return
        elif isinstance(parent, ast.Call | ast.keyword) and self._argument(place, path):
            return
        elif isinstance(parent, ast.Dict):
            if any(key is None and value is node for key, value in zip(parent.keys, parent.values, strict=True)):
                return
            if isinstance(place.grandparent, ast.Call) and name_of(place.grandparent.func) in HARMLESS:
                return
        elif isinstance(
            parent,
            ast.Expr | ast.FormattedValue | ast.If | ast.IfExp | ast.While | ast.Assert | ast.BoolOp | ast.UnaryOp,
        ):
            return
        self._learn(self.use.bulk, {path})

    def _stored(self, place: _Place, target: ast.AST, path: str) -> bool:
        if isinstance(target, ast.Name):
            self._bind(("variable", place.file, place.scope, target.id), path)
            if not place.scope:
                self._bind(("global", target.id), path)
            return True
        if isinstance(target, ast.Attribute):
            self._bind(("attribute", target.attr), path)
            return True
        return False

    @staticmethod
    def _method(call: ast.Call, name: str) -> bool:
        """A method that is followed elsewhere, or reads nothing."""
        if name in ASKS:
            key = call.args[0] if call.args else None
            return isinstance(key, ast.Constant) and isinstance(key.value, str)
        return name in HARMLESS or name == "copy"

    def _compared(self, compare: ast.Compare, path: str) -> None:
        """``"key" in config`` asks for the key."""
        if isinstance(compare.left, ast.Constant) and isinstance(compare.left.value, str):
            key = compare.left.value
            self._learn(self.use.asked, {f"{path}.{key}" if path else key})

    def _argument(self, place: _Place, path: str) -> bool:
        """An argument of a function that can be looked into, or that reads nothing."""
        named = place.parent if isinstance(place.parent, ast.keyword) else None
        call = place.grandparent if named is not None else place.parent
        if not isinstance(call, ast.Call) or call.func is place.node or (named is not None and named.arg is None):
            return False
        name = name_of(call.func)
        defined = self.sources.functions.get(name, [])
        if not defined:
            return name in HARMLESS or name in SAME
        for file, scope, arguments in defined:
            every = [*arguments.posonlyargs, *arguments.args]
            if every and every[0].arg in ("self", "cls"):
                every = every[1:]
            wanted: Any = None
            if named is not None:
                wanted = next((one.arg for one in (*every, *arguments.kwonlyargs) if one.arg == named.arg), None)
            elif any(isinstance(one, ast.Starred) for one in call.args):
                return False
            else:
                index = next(number for number, one in enumerate(call.args) if one is place.node)
                wanted = every[index].arg if index < len(every) else None
            if wanted is None:
                return False
            self._bind(("variable", file, scope, str(wanted)), path)
        return True


def mappings_in(content: Any, path: str = "") -> Iterable[str]:
    """Dotted names of a mapping and of all mappings in it."""
    yield path
    for key, value in content.items():
        if isinstance(value, dict):
            yield from mappings_in(value, f"{path}.{key}" if path else str(key))
