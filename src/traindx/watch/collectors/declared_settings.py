"""Settings that the sources declare (arguments, fields, constants, parameters), and whether anything reads them.

All is told from the sources of the script that are loaded, when a summary is written: an option of ``argparse``, a
field of a data class or a constant counts as read if any source mentions its name, a parameter of a function if its
body does. Where a namespace goes as a whole somewhere that cannot be followed (``vars(args)``, a library's function),
all that is in it counts as read: only what is certain is told.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from traindx.core.frames import shown_path
from traindx.evidence.base import Record
from traindx.evidence.observed_state import DeclaredSettings
from traindx.finding import Location
from traindx.watch.collectors.config_use import HARMLESS, name_of
from traindx.watch.runtime.source_trees import own_sources
from traindx.watch.runtime.syntax import children, walk
from traindx.watch.runtime.watch import Collector, Watch

WHOLE = (
    "vars",
    "save_hyperparameters",
    "asdict",
    "astuple",
    "locals",
    "globals",
    "fields",
    "__dict__",
    "_get_kwargs",
    "replace",
    "_asdict",
)


KEEP, KEPT = "save_hyperparameters", "hparams"  # of Lightning: arguments become fields of ``self.hparams``


@dataclass(frozen=True)
class Setting:
    """One that is declared.

    Attributes:
        kind: ``option``, ``field``, ``constant`` or ``parameter``.
        name: As it is read.
        value: Its value or default as source text, "" without one.
        file: Source file.
        line: Of the declaration, or of the statement that overwrites it.
        symbol: Function or class that it belongs to.
        read: Something reads it.
        overwritten: The source of the value that a parameter is given before anything reads it.
        passed: A call in the sources passes it on purpose.
    """

    kind: str
    name: str
    value: str
    file: str
    line: int
    symbol: str
    read: bool
    overwritten: str = ""
    passed: bool = False


class SettingsDeclared(Collector):
    """Reads the sources when a summary is written; costs nothing in between."""

    subject = "settings in the sources"

    def __init__(self, watch: Watch) -> None:
        super().__init__(watch)
        self._known: tuple[frozenset[str], list[Record]] | None = None

    def records(self) -> Iterable[Record]:
        """One record a kind."""
        trees = own_sources()
        if self._known is None or self._known[0] != frozenset(trees):
            self._known = (frozenset(trees), list(as_records(settings_in(trees))))
        yield from self._known[1]


def as_records(settings: Iterable[Setting]) -> Iterator[DeclaredSettings]:
    """Settings by kind, those that nothing reads by name."""
    kinds: dict[str, list[Setting]] = {}
    for one in settings:
        kinds.setdefault(one.kind, []).append(one)
    for kind, members in kinds.items():
        idle = [one for one in members if not one.read][:32]
        yield DeclaredSettings(
            form=kind,
            declared=len(members),
            names=tuple(one.name for one in idle),
            values=tuple(one.value for one in idle),
            places=tuple(Location(file=shown_path(one.file), line=one.line, symbol=one.symbol) for one in idle),
            overwritten=tuple(one.overwritten for one in idle),
            passed=tuple(one.passed for one in idle),
        )


def settings_in(trees: dict[str, ast.Module]) -> list[Setting]:
    """All settings that these sources declare."""
    uses = _Uses(trees)
    found: list[Setting] = []
    for file, tree in trees.items():
        found += _options(file, tree, uses)
        found += _fields(file, tree, uses)
        found += _constants(file, tree, uses)
        found += _parameters(file, tree, uses)
    return found


class _Uses:
    """What all sources together read."""

    def __init__(self, trees: dict[str, ast.Module]) -> None:
        self.attributes: set[str] = set()
        self.names: set[str] = set()
        self.strings: set[str] = set()
        self.called: set[str] = set()
        self.defined: dict[str, list[ast.FunctionDef | ast.AsyncFunctionDef]] = {}
        self.calls: dict[str, list[ast.Call]] = {}
        self.kept_seen = self.kept_parts = 0  # ``self.hparams`` in all, and with a name or key after it
        self.handed_on: set[str] = set()  # names that go as a whole to something that is not defined here
        for tree in trees.values():
            for node in walk(tree):
                self._note(node)
        for name, calls in self.calls.items():
            if name in self.defined or name in HARMLESS:
                continue
            for call in calls:
                values = [*call.args, *(one.value for one in call.keywords)]
                self.handed_on.update(one.id for one in values if isinstance(one, ast.Name))

    def _note(self, node: ast.AST) -> None:
        self.kept_seen += _is_kept(node)
        constant = isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant)
        self.kept_parts += (isinstance(node, ast.Attribute) or constant) and _is_kept(node.value)  # type: ignore[attr-defined]
        if isinstance(node, ast.Attribute):
            if isinstance(node.ctx, ast.Load):
                self.attributes.add(node.attr)
        elif isinstance(node, ast.Name):
            if isinstance(node.ctx, ast.Load):
                self.names.add(node.id)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 200:
            self.strings.update(re.findall(r"\w+", node.value))
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            self.defined.setdefault(node.name, []).append(node)
        elif isinstance(node, ast.ClassDef):
            for item in node.body:
                if isinstance(item, ast.FunctionDef) and item.name == "__init__":
                    self.defined.setdefault(node.name, []).append(item)
        elif isinstance(node, ast.Call):
            self.calls.setdefault(name_of(node.func), []).append(node)
        elif isinstance(node, ast.ImportFrom | ast.Import):
            self.names.update(alias.name.rpartition(".")[2] for alias in node.names)

    def keeps(self, name: str) -> bool:
        """``self.hparams.name`` may be read: by name, or because all of them are passed on."""
        return name in self.attributes or name in self.strings or self.kept_seen > self.kept_parts

    def as_a_whole(self) -> bool:
        """Somebody looks at all attributes of something at once."""
        return any(name in self.calls for name in WHOLE) or bool(self.attributes & set(WHOLE))


def _is_kept(node: ast.AST) -> bool:
    return (isinstance(node, ast.Attribute) and node.attr == KEPT) or (isinstance(node, ast.Name) and node.id == KEPT)


def _options(file: str, tree: ast.Module, uses: _Uses) -> Iterator[Setting]:
    """Numbers and switches of ``add_argument``."""
    holders = {
        target.id
        for node in walk(tree)
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call)
        and name_of(node.value.func) in ("parse_args", "parse_known_args")
        for target in node.targets
        if isinstance(target, ast.Name)
    }  # fmt: skip
    whole = uses.as_a_whole() or bool(holders & uses.handed_on)
    for node in walk(tree):
        if not isinstance(node, ast.Call) or name_of(node.func) != "add_argument":
            continue
        flags = [one.value for one in node.args if isinstance(one, ast.Constant) and isinstance(one.value, str)]
        given = {one.arg: one.value for one in node.keywords}
        long = next((one for one in flags if one.startswith("--")), "")
        named = given.get("dest")
        name = str(named.value) if isinstance(named, ast.Constant) else long.lstrip("-").replace("-", "_")
        default = given.get("default")
        if not name or default is None or None in given or not _number(default):
            continue
        mentioned = sum(1 for one in uses.strings if one == name) if "-" in long.strip("-") or named else 0
        read = name in uses.attributes or whole or bool(mentioned)
        yield Setting("option", name, ast.unparse(default), file, node.lineno, "", read)


def _fields(file: str, tree: ast.Module, uses: _Uses) -> Iterator[Setting]:
    """Numbers in data classes."""
    whole = uses.as_a_whole()
    for node in walk(tree):
        if not isinstance(node, ast.ClassDef) or not any("dataclass" in ast.unparse(d) for d in node.decorator_list):
            continue
        for item in node.body:
            if isinstance(item, ast.AnnAssign) and isinstance(item.target, ast.Name) and _number(item.value):
                name = item.target.id
                read = name in uses.attributes or name in uses.strings or whole or _loads(node, name)
                value = ast.unparse(item.value) if item.value is not None else ""
                yield Setting("field", name, value, file, item.lineno, node.name, read)


def _constants(file: str, tree: ast.Module, uses: _Uses) -> Iterator[Setting]:
    """Numbers at the top of a file, in capitals."""
    exported = any(isinstance(n, ast.ImportFrom) and any(a.name == "*" for a in n.names) for n in walk(tree))
    for node in tree.body:
        if isinstance(node, ast.Assign) and len(node.targets) == 1 and isinstance(node.targets[0], ast.Name):
            name = node.targets[0].id
            if name.isupper() and _number(node.value):
                read = name in uses.names or name in uses.attributes or name in uses.strings or exported
                yield Setting("constant", name, ast.unparse(node.value), file, node.lineno, "", read)


def _parameters(file: str, tree: ast.Module, uses: _Uses) -> Iterator[Setting]:
    """Numbers that functions are given, by default or by a call."""
    for owner, function in _functions(tree):
        if (
            _only_declares(function)
            or _inherits(owner, function)
            or (len(uses.defined.get(function.name, ())) > 1 and (function.name != "__init__"))
        ):
            continue
        body = [node for statement in function.body for node in walk(statement)]
        whole = {name for node in body if isinstance(node, ast.Call) and (name := name_of(node.func)) in WHOLE}
        if whole - {KEEP}:
            continue
        kept = _kept_unread(owner, function, uses)
        loads = {
            node.id
            for node in body
            if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Load) and id(node) not in kept
        }
        called = owner.name if owner is not None and function.name == "__init__" else function.name
        for position, argument, default in _arguments(function, method=owner is not None):
            passed, value = _passed(uses.calls.get(called, ()), position, argument.arg)
            if not passed and (default is None or not _number(default)):
                continue
            shown = value or (ast.unparse(default) if default is not None else "")
            symbol = f"{owner.name}.{function.name}" if owner is not None else function.name
            lost = _overwritten(function, argument.arg)
            read = (argument.arg in loads and lost is None) or (KEEP in whole and uses.keeps(argument.arg))
            line = lost.lineno if lost is not None else argument.lineno
            text = ast.unparse(lost.value) if lost is not None else ""
            yield Setting("parameter", argument.arg, shown, file, line, symbol, read, text, passed)


_PLAIN = ("nn.Module", "torch.nn.Module", "Module", "object", "pl.LightningModule", "LightningModule")


def _kept_unread(owner: ast.ClassDef | None, function: ast.FunctionDef, uses: _Uses) -> set[int]:
    """Names in ``self.weight = weight`` of a constructor, by id, where no source reads a field of that name.

    Of classes whose base reads fields by their names (a configuration, an estimator) nothing is told.
    """
    if owner is None or function.name != "__init__" or uses.as_a_whole():
        return set()
    if any(ast.unparse(base) not in _PLAIN for base in owner.bases) or owner.decorator_list:
        return set()
    found = set()
    for statement in function.body:
        if not isinstance(statement, ast.Assign) or len(statement.targets) != 1:
            continue
        target, value = statement.targets[0], statement.value
        pairs = [(target, value)]
        if isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple) and len(target.elts) == len(value.elts):
            pairs = list(zip(target.elts, value.elts, strict=True))
        for one, given in pairs:
            kept = isinstance(one, ast.Attribute) and isinstance(one.value, ast.Name) and one.value.id == "self"
            if not kept or not isinstance(given, ast.Name):
                continue
            assert isinstance(one, ast.Attribute)
            if one.attr not in uses.attributes and one.attr not in uses.strings:
                found.add(id(given))
    return found


def _functions(tree: ast.Module) -> Iterator[tuple[ast.ClassDef | None, ast.FunctionDef]]:
    for node in walk(tree):
        for child in children(node):
            if isinstance(child, ast.FunctionDef):
                yield (node if isinstance(node, ast.ClassDef) else None), child


def _arguments(function: ast.FunctionDef, *, method: bool) -> Iterator[tuple[int, ast.arg, ast.expr | None]]:
    """Position in a call (-1: by name only), argument and default."""
    arguments = function.args
    plain = [*arguments.posonlyargs, *arguments.args]
    defaults: list[ast.expr | None] = [None] * (len(plain) - len(arguments.defaults)) + list(arguments.defaults)
    static = any(ast.unparse(one) == "staticmethod" for one in function.decorator_list)
    skip = 1 if method and not static else 0
    for number, (argument, default) in enumerate(zip(plain, defaults, strict=True)):
        if number >= skip:
            yield number - skip, argument, default
    for argument, default in zip(arguments.kwonlyargs, arguments.kw_defaults, strict=True):
        yield -1, argument, default


def _passed(calls: Iterable[ast.Call], position: int, name: str) -> tuple[bool, str]:
    """Does a call give this argument, and what?"""
    for call in calls:
        named = next((one.value for one in call.keywords if one.arg == name), None)
        if named is not None:
            return True, ast.unparse(named)
        if 0 <= position < len(call.args) and not any(isinstance(one, ast.Starred) for one in call.args):
            return True, ast.unparse(call.args[position])
    return False, ""


def _overwritten(function: ast.FunctionDef, name: str) -> ast.Assign | None:
    """The statement that gives a parameter another value before anything reads it, for certain."""
    for statement in function.body:
        if (
            isinstance(statement, ast.Assign)
            and len(statement.targets) == 1
            and isinstance(statement.targets[0], ast.Name)
            and statement.targets[0].id == name
        ):
            return statement if not _loads(statement.value, name) and _number(statement.value) else None
        if any(isinstance(node, ast.Name) and node.id == name for node in walk(statement)):
            return None
    return None


def _only_declares(function: ast.FunctionDef) -> bool:
    """An interface: nothing but a docstring, ``pass``, ``...`` or ``raise``; or it is decorated as one."""
    if any(re.search("abstract|overload|property|fixture|hook", ast.unparse(one)) for one in function.decorator_list):
        return True
    rest = [one for one in function.body if not (isinstance(one, ast.Expr) and isinstance(one.value, ast.Constant))]
    return all(isinstance(one, ast.Pass | ast.Raise) for one in rest)


def _inherits(owner: ast.ClassDef | None, function: ast.FunctionDef) -> bool:
    """A method whose arguments somebody else's interface decides; a constructor's are the class's own."""
    if owner is None or function.name == "__init__":
        return False
    plain = ("nn.Module", "torch.nn.Module", "Module", "object")
    return any(ast.unparse(base) not in plain for base in owner.bases)


def _loads(node: ast.AST, name: str) -> bool:
    return any(isinstance(one, ast.Name) and one.id == name and isinstance(one.ctx, ast.Load) for one in walk(node))


def _number(node: ast.AST | None) -> bool:
    """A number or truth value, as it stands in the source; not one that switches a thing off."""
    if isinstance(node, ast.UnaryOp) and isinstance(node.op, ast.USub):
        node = node.operand
    return isinstance(node, ast.Constant) and isinstance(node.value, int | float) and bool(node.value)
