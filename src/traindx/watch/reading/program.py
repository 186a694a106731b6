"""The sources of a program as readers need them: functions by name, scopes, and the words that names are made of."""

from __future__ import annotations

import ast
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import PurePath

from traindx.watch.runtime.syntax import children, inside, walk

Function = ast.FunctionDef | ast.AsyncFunctionDef
Scope = ast.FunctionDef | ast.AsyncFunctionDef | ast.Module
PASSES_ON = frozenset({"enumerate", "tqdm", "track", "iter", "list", "islice", "progress_bar", "reversed", "cycle"})
LOOKS_AT_ALL = frozenset({"locals", "vars", "eval", "exec", "globals"})
_PART = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+")


@dataclass(frozen=True)
class Slip:
    """One place at which a program contradicts itself.

    Attributes:
        form: What kind of slip it is.
        source: Source of the place, on one line.
        detail: What it contradicts.
        file: The file.
        line: The line, from 1.
        symbol: Function that the line is in, "" at the top.
        other: Line of what it contradicts, 0 where there is none.
        was: Name that stands there, "" where it is not one name.
        better: Source that would not contradict it, "" where that is for the author to say.
    """

    form: str
    source: str
    detail: str
    file: str
    line: int
    symbol: str = ""
    other: int = 0
    was: str = ""
    better: str = ""


@dataclass
class Program:
    """The sources of one program.

    Attributes:
        trees: Trees by file.
        functions: Functions by their own name; methods among them, with the class in `owners`.
        owners: Class that a method is defined in, by the identity of its node.
        classes: Classes by name.
        names: How often each identifier, attribute and short string occurs.
        read: How often each is read.
        made: By the name of a variable or a field, the classes that it is given an object of; of a library's, which may
            be called as one of the program's is, with the library.
    """

    trees: dict[str, ast.Module]
    functions: dict[str, list[Function]] = field(default_factory=lambda: defaultdict(list))
    owners: dict[int, ast.ClassDef] = field(default_factory=dict)
    classes: dict[str, list[ast.ClassDef]] = field(default_factory=lambda: defaultdict(list))
    names: Counter[str] = field(default_factory=Counter)
    read: Counter[str] = field(default_factory=Counter)
    made: dict[str, set[str]] = field(default_factory=lambda: defaultdict(set))
    _stems: dict[int, str] = field(default_factory=dict)
    _libraries: dict[str, str] = field(default_factory=dict)
    _scopes: list[tuple[str, str, Scope]] = field(default_factory=list)
    _blocks: dict[int, list[list[ast.stmt]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        own = {part for file in self.trees for part in PurePath(file).with_suffix("").parts}
        for tree in self.trees.values():
            self._libraries.update((name, top) for name, top in _imported(tree) if top not in own)
        for file, tree in self.trees.items():
            for node in walk(tree):
                if isinstance(node, ast.ClassDef):
                    self.classes[node.name].append(node)
                    for one in node.body:
                        if isinstance(one, Function):
                            self.owners[id(one)] = node
                elif isinstance(node, Function):
                    self.functions[node.name].append(node)
                    self._stems[id(node)] = PurePath(file).stem
                elif isinstance(node, ast.Assign) and isinstance(node.value, ast.Call):
                    for target in node.targets:
                        self.made[name_of(target)].add(f"{name_of(node.value.func)}{self._library(node.value.func)}")
                self._count(node)

    def _count(self, node: ast.AST) -> None:
        name, read = "", False
        if isinstance(node, ast.Name):
            name, read = node.id, isinstance(node.ctx, ast.Load)
        elif isinstance(node, ast.Attribute):
            name, read = node.attr, isinstance(node.ctx, ast.Load)
        elif isinstance(node, ast.arg):
            name = node.arg
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and node.value.isidentifier():
            name, read = node.value, True
        if name:
            self.names[name] += 1
            self.read[name] += read

    def scopes(self) -> list[tuple[str, str, Scope]]:
        """File, qualified name and node of every function, and of every file with the name ""."""
        if not self._scopes:
            for file, tree in self.trees.items():
                self._scopes.append((file, "", tree))
                self._scopes += [(file, name, node) for name, node in _functions(tree, "")]
        return self._scopes

    def blocks(self, scope: ast.AST) -> list[list[ast.stmt]]:
        """What :func:`blocks` gives."""
        found = self._blocks.get(id(scope))
        if found is None:
            found = self._blocks[id(scope)] = list(blocks(scope))
        return found

    def called(self, call: ast.Call) -> Function | None:
        """The own function that a call can only mean; None where there are several, or it is somebody else's."""
        if isinstance(call.func, ast.Name):
            name = call.func.id
            if name in self.classes:
                return self._constructor(name)
            found = [one for one in self.functions.get(name, ()) if id(one) not in self.owners]
        elif isinstance(call.func, ast.Attribute):
            name = call.func.attr
            if name in self.classes and not self._library(call.func):
                return self._constructor(name)
            found = [one for one in self.functions.get(name, ()) if self._may_be(call.func, one)]
        else:
            return None
        return found[0] if len(found) == 1 else None

    def _may_be(self, named: ast.Attribute, function: Function) -> bool:
        """``shutil.copy`` is no function ``copy`` of the script's: a method, or a function of a file of that name.

        A method of what is only ever made of classes of a library (``optimizer = AdamW(...)``) is the library's.
        """
        owner = name_of(named.value)
        if id(function) not in self.owners:
            return owner == self._stems.get(id(function), "")
        made = self.made.get(owner, set())
        return not made or not all(one[:1].isupper() and one not in self.classes for one in made)

    def _library(self, named: ast.expr) -> str:
        """`` of torch`` for ``torch.optim.lr_scheduler.LambdaLR``, "" for what is the program's own."""
        if not isinstance(named, ast.Attribute):
            return ""
        top = self._libraries.get(root(named))
        return f" of {top}" if top else ""

    def _constructor(self, name: str) -> Function | None:
        made = self.classes[name]
        found = [one for one in made[0].body if isinstance(one, Function) and one.name == "__init__"]
        return found[0] if len(made) == 1 and found else None

    def parameters(self, function: Function) -> list[str]:
        """Names of the parameters that can be given by position, without the object itself."""
        names = [one.arg for one in (*function.args.posonlyargs, *function.args.args)]
        static = any(name_of(one) == "staticmethod" for one in function.decorator_list)
        bound = id(function) in self.owners and not static and names[:1] in (["self"], ["cls"])
        return names[1:] if bound else names  # a class may be a place for functions that are called by its name


def root(node: ast.expr) -> str:
    """First name of ``a.b.c``."""
    while isinstance(node, ast.Attribute | ast.Subscript | ast.Call):
        node = node.func if isinstance(node, ast.Call) else node.value
    return node.id if isinstance(node, ast.Name) else ""


def _imported(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Names that stand for modules, or for what comes out of them, and the package that they come from."""
    for node in walk(tree):
        if isinstance(node, ast.Import):
            yield from ((one.asname or one.name.partition(".")[0], one.name.partition(".")[0]) for one in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield from ((one.asname or one.name, node.module.partition(".")[0]) for one in node.names)


def _functions(node: ast.AST, prefix: str) -> Iterator[tuple[str, Function]]:
    for child in children(node):
        if isinstance(child, Function):
            name = f"{prefix}.{child.name}".lstrip(".")
            yield name, child
            yield from _functions(child, name)
        else:
            yield from _functions(
                child, f"{prefix}.{child.name}".lstrip(".") if isinstance(child, ast.ClassDef) else prefix
            )


def blocks(scope: ast.AST) -> Iterator[list[ast.stmt]]:
    """Lists of statements that follow one another, in a scope."""
    for node in (scope, *inside(scope)):
        if isinstance(node, Function | ast.ClassDef) and node is not scope:
            continue
        for name in ("body", "orelse", "finalbody"):
            block = getattr(node, name, None)
            if isinstance(block, list) and block and isinstance(block[0], ast.stmt):
                yield block


def name_of(node: ast.AST) -> str:
    """Last part of a name: ``b`` of ``a.b``, of ``b`` and of ``x["b"]``; "" for anything else."""
    if isinstance(node, ast.Name):
        return node.id
    if isinstance(node, ast.Attribute):
        return node.attr
    if isinstance(node, ast.Subscript) and isinstance(node.slice, ast.Constant) and isinstance(node.slice.value, str):
        return node.slice.value
    return ""


def names_in(node: ast.AST) -> set[str]:
    """Plain names that a node mentions."""
    return {one.id for one in walk(node) if isinstance(one, ast.Name)}


def read_in(scope: ast.AST) -> set[str]:
    """Names that are read anywhere in a scope, or belong to another one as well."""
    found: set[str] = set()
    for one in walk(scope):
        if isinstance(one, ast.Name) and not isinstance(one.ctx, ast.Store):
            found.add(one.id)
        elif isinstance(one, ast.AugAssign) and isinstance(one.target, ast.Name):
            found.add(one.target.id)
        elif isinstance(one, ast.Global | ast.Nonlocal):
            found.update(one.names)
    return found


def terms_of(node: ast.expr) -> list[ast.expr]:
    """Terms of a sum; what is no sum is one term."""
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        return [*terms_of(node.left), *terms_of(node.right)]
    return [node]


def walked(node: ast.expr) -> ast.expr:
    """What a loop walks through, without ``enumerate``, ``tqdm`` and their like around it."""
    while isinstance(node, ast.Call) and node.args and name_of(node.func) in PASSES_ON:
        node = node.args[0]
    return node


def is_empty(value: ast.expr) -> bool:
    """``[]`` or ``{}``."""
    return (isinstance(value, ast.List) and not value.elts) or (isinstance(value, ast.Dict) and not value.keys)


@lru_cache(maxsize=16384)
def words(name: str) -> tuple[str, ...]:
    """Words that a name is made of, in small letters: ``trainMask_2`` is ``train``, ``mask``, ``2``."""
    return tuple(one.lower() for one in _PART.findall(name))


def says(label: str, meant: str) -> bool:
    """True if a name says that it is another one: the same words, or all words of one among those of the other.

    Words of one letter say nothing beside others: ``y`` is in ``y_true`` and in ``y_pred``.
    """
    mine, its = set(words(label)), set(words(meant))
    if not mine or not its:
        return False
    if mine == its:
        return True
    return (mine < its or its < mine) and any(len(one) > 2 and not one.isdigit() for one in mine & its)


HELD_OUT = frozenset({"test", "val", "valid", "validate", "validation", "dev", "eval", "evaluate", "evaluation"})


def side_of(name: str) -> str:
    """``train`` or ``held out``, as a name says; "" where it says neither or both."""
    said = set(words(name))
    train, held_out = bool(said & {"train", "training"}), bool(said & HELD_OUT)
    return "" if train == held_out else "train" if train else "held out"


ORDERED = (ast.Gt, ast.Lt, ast.GtE, ast.LtE)


def parents_of(trees: Iterable[ast.AST]) -> dict[int, ast.AST]:
    """The node around each node, by its ``id``."""
    return {id(child): one for tree in trees for one in walk(tree) for child in children(one)}


def above(node: ast.AST, parents: dict[int, ast.AST]) -> Iterator[ast.AST]:
    """Nodes around a node, the nearest first."""
    parent = parents.get(id(node))
    while parent is not None:
        yield parent
        parent = parents.get(id(parent))


def is_number(value: object) -> bool:
    """A number of a literal; True and False are none."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def shown(node: ast.AST, most: int = 100) -> str:
    """Source of a node on one line, cut where it is long."""
    text = " ".join(ast.unparse(node).split())
    return text if len(text) <= most else text[: most - 4] + " ..."
