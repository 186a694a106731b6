"""Fields that the script sets on modules, optimisers, loaders and data sets, where nobody reads what it set.

The sources say which fields are set (``x.field = value``) and which are read anywhere; the living objects say on what
such a field lies, and what that object reads itself. Nothing is called, and nothing of the script's is run.
"""

from __future__ import annotations

import ast
import difflib
import inspect
import linecache
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

from traindx.core.frames import shown_path
from traindx.evidence.base import Record
from traindx.evidence.observed_calls import IdleStatement
from traindx.finding import Location
from traindx.watch.collectors.loaders import Loaders
from traindx.watch.collectors.networks import Networks
from traindx.watch.collectors.optimisers import Optimisers
from traindx.watch.collectors.statements import MISSPELT
from traindx.watch.runtime.call_sites import users
from traindx.watch.runtime.schedule import ObservationLevel
from traindx.watch.runtime.source_trees import own_sources
from traindx.watch.runtime.structure import own_parameters
from traindx.watch.runtime.syntax import walk
from traindx.watch.runtime.watch import Collector, Watch

ALIKE = 0.8  # of two names, as difflib counts: a letter left out or changed, another ending
SHORTEST = 5  # letters of a name that may be taken for another one's misspelling
SIZES = {  # fields that only tell what the weight is, by kind of layer: axis of the weight
    "Linear": {"out_features": 0, "in_features": 1},
    "Conv": {"out_channels": 0, "in_channels": 1},
    "Embedding": {"num_embeddings": 0, "embedding_dim": 1},
    "BatchNorm": {"num_features": 0},
}
_SAME_AS = {"learning_rate": "lr"}


@dataclass(frozen=True)
class Assigned:
    """One statement of the sources that sets a field.

    Attributes:
        field: Name of the field.
        owner: Source of what it is set on.
        source: The statement.
        where: Its place.
        own: It is set on ``self``.
    """

    field: str
    owner: str
    source: str
    where: Location
    own: bool = False


@dataclass
class Sources:
    """What the sources set and read.

    Attributes:
        assigned: Statements by the field they set.
        read: Names of fields that are read anywhere, and all words in strings (``getattr`` takes those).
        defaults: Statements that set an entry of ``optimizer.defaults``, by entry.
        adds_groups: A group is added to an optimiser somewhere, which takes the defaults.
        files: The files that were read.
    """

    assigned: dict[str, list[Assigned]] = field(default_factory=dict)
    read: set[str] = field(default_factory=set)
    defaults: dict[str, list[Assigned]] = field(default_factory=dict)
    adds_groups: bool = False
    files: frozenset[str] = frozenset()


class SetFields(Collector):
    """Reads the sources once and the objects while they live; costs nothing in between."""

    subject = "fields that are set"

    def __init__(self, watch: Watch, networks: Networks, optimisers: Optimisers, loaders: Loaders) -> None:
        super().__init__(watch)
        self.networks = networks
        self.optimisers = optimisers
        self.loaders = loaders
        self._known: tuple[frozenset[str], Sources] | None = None
        self._found: dict[tuple[str, Location], IdleStatement] = {}

    def end(self) -> None:
        """Look at the objects while they are there."""
        if self.watch.level is ObservationLevel.FULL:
            self._look()

    def records(self) -> Iterable[Record]:
        """What was found."""
        self._look()
        yield from self._found.values()

    def _sources(self) -> Sources:
        trees = own_sources()
        if self._known is None or self._known[0] != frozenset(trees):
            self._known = frozenset(trees), sources_of(trees)
        return self._known[1]

    def _look(self) -> None:
        sources = self._sources()
        if not sources.assigned and not sources.defaults:
            return
        found: list[IdleStatement] = []
        for module in list(self.networks.made):
            found += idle_fields(module, sources)
            for _, parameter in own_parameters(module):
                found += idle_fields(parameter, sources)
            found += sizes_that_stay(module, sources)
        for optimizer in list(self.optimisers.tracked):
            found += rates_nobody_reads(optimizer, sources)
            found += idle_fields(optimizer, sources)
        for loader in self.loaders.alive():
            found += idle_fields(loader, sources)
            fields = object.__getattribute__(loader, "__dict__")  # a class of the script's may answer and count
            found += idle_fields(fields.get("sampler"), sources)
            found += idle_fields(fields.get("dataset"), sources)
        for one in found:
            if one.where is not None:
                self._found.setdefault((one.form, one.where), one)


# -- sources -----------------------------------------------------------------------------------------------------


def sources_of(trees: dict[str, ast.Module]) -> Sources:
    """What these sources set and read."""
    found = Sources(files=frozenset(trees))
    for file, tree in trees.items():
        for node in walk(tree):
            if isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                found.read.add(node.attr)
                found.adds_groups |= node.attr == "add_param_group"
            elif isinstance(node, ast.Constant) and isinstance(node.value, str) and len(node.value) < 64:
                found.read.update(re.findall(r"\w+", node.value))
            elif isinstance(node, ast.Assign):
                for target in node.targets:
                    _note(found, file, node, target)
    return found


def _note(found: Sources, file: str, node: ast.Assign, target: ast.expr) -> None:
    if isinstance(target, ast.Tuple):
        for part in target.elts:
            _note(found, file, node, part)
        return
    where = Location(file=shown_path(file), line=node.lineno)
    if isinstance(target, ast.Attribute):
        own = isinstance(target.value, ast.Name) and target.value.id in ("self", "cls")
        one = Assigned(target.attr, ast.unparse(target.value), ast.unparse(node), where, own)
        found.assigned.setdefault(target.attr, []).append(one)
    elif (
        isinstance(target, ast.Subscript)
        and isinstance(target.slice, ast.Constant)
        and isinstance(target.value, ast.Attribute)
        and target.value.attr == "defaults"
    ):
        key = str(target.slice.value)
        one = Assigned(key, ast.unparse(target.value), ast.unparse(node), where)
        found.defaults.setdefault(key, []).append(one)


# -- objects -----------------------------------------------------------------------------------------------------


def idle_fields(owner: Any, sources: Sources) -> Iterator[IdleStatement]:
    """Fields of an object that the script set on it and that nothing reads; methods that it has written over."""
    try:
        fields: dict[str, Any] = object.__getattribute__(owner, "__dict__")
    except AttributeError:
        return
    for name in [one for one in sources.assigned if one in fields]:
        statements = [one for one in sources.assigned[name] if not one.own]
        kept = inspect.getattr_static(type(owner), name, None)
        if inspect.isfunction(kept) or inspect.ismethoddescriptor(kept):
            if not callable(fields[name]) and len(statements) == 1 and _defined_in_library(owner, name):
                yield _record("method-overwritten", statements[0], f"{type(owner).__name__}.{name}")
            continue
        if name in MISSPELT or name in sources.read or kept is not None or reads(_class_of(owner), name):
            continue
        if not _files(_class_of(owner)) <= sources.files:
            continue
        meant = _meant(owner, name, fields)
        if meant and len(statements) == 1:
            yield _record("near-name", statements[0], meant)
        elif len(statements) == 1 and name in _options(_class_of(owner)):
            yield _record("option-later", statements[0], type(owner).__name__)
        elif not statements and len(sources.assigned[name]) == 1:  # ``self.automatic_optimisation = False``
            own = _meant_of_library(owner, name)
            if own:
                yield _record("near-name", sources.assigned[name][0], own)


def sizes_that_stay(module: Any, sources: Sources) -> Iterator[IdleStatement]:
    """``layer.out_features = 2``: the layer has the weight that it was made with."""
    kind = type(module)
    if not kind.__module__.startswith("torch.nn.modules"):
        return
    fields = object.__getattribute__(module, "__dict__")
    weight = dict(own_parameters(module)).get("weight")
    sizes = next((axes for name, axes in SIZES.items() if kind.__name__.startswith(name)), None)
    if weight is None or sizes is None:
        return
    across = kind.__name__.startswith("ConvTranspose")
    for name, axis in sizes.items():
        statements = [one for one in sources.assigned.get(name, ()) if not one.own]
        if len(statements) != 1 or type(fields.get(name)) is not int:
            continue
        first = (axis == 0) != across
        groups = int(fields.get("groups", 1)) if kind.__name__.startswith("Conv") and not first else 1
        actual = int(weight.shape[(1 - axis) if across else axis]) * groups
        if actual != fields[name]:
            yield _record("size-field", statements[0], f"{tuple(weight.shape)}")


def rates_nobody_reads(optimizer: Any, sources: Sources) -> Iterator[IdleStatement]:
    """``optimizer.lr = ...`` and ``optimizer.defaults["lr"] = ...``: the groups keep what they have."""
    fields = object.__getattribute__(optimizer, "__dict__")
    groups = fields.get("param_groups") or []
    for name in [one for one in sources.assigned if one in fields]:
        key = _SAME_AS.get(name, name)
        statements = [one for one in sources.assigned[name] if not one.own]
        if len(statements) != 1 or not all(key in group for group in groups):
            continue
        if any(f"self.{name}" in text for text in _texts(_class_of(optimizer))):
            continue
        if groups and all(_differs(group[key], fields[name]) for group in groups):
            yield _record("group-field", statements[0], f"{key} = {groups[0][key]}")
    defaults = fields.get("defaults") or {}
    for key, statements in sources.defaults.items():
        if key not in defaults or len(statements) != 1 or sources.adds_groups:
            continue
        if groups and all(key in group and _differs(group[key], defaults[key]) for group in groups):
            yield _record("group-field", statements[0], f"{key} = {groups[0][key]}")


def _differs(one: Any, other: Any) -> bool:
    plain = (int, float, tuple, bool)
    return type(one) in plain and type(other) in plain and one != other


def _record(form: str, statement: Assigned, detail: str) -> IdleStatement:
    return IdleStatement(form=form, source=statement.source, detail=detail, where=statement.where)


# -- who reads a field -------------------------------------------------------------------------------------------


def _class_of(owner: object) -> Any:
    return type(owner)


@lru_cache(maxsize=4096)
def reads(kind: Any, name: str) -> bool:
    """True if the source of a library's class, or of one that it is derived from, reads such a field from anything.

    The script's own classes are among its sources, of which more is known.
    """
    pattern = re.compile(rf"\.{re.escape(name)}\b(?!\s*(:[^=\n]+)?=[^=])|[\"']{re.escape(name)}[\"']")
    return any(pattern.search(text) for text in _texts(kind))


@lru_cache(maxsize=512)
def _texts(kind: Any) -> tuple[str, ...]:
    files = set()
    for base in kind.__mro__:
        module = sys.modules.get(base.__module__)
        file = getattr(module, "__file__", None)
        if base is not object and isinstance(file, str) and file.endswith(".py") and not users(file):
            files.add(file)
    return tuple("".join(linecache.getlines(file)) for file in sorted(files))


@lru_cache(maxsize=512)
def _files(kind: Any) -> frozenset[str]:
    """The script's own files that define a class and what it is derived from."""
    files = [getattr(sys.modules.get(base.__module__), "__file__", None) for base in kind.__mro__]
    return frozenset(file for file in files if isinstance(file, str) and users(file))


def _defined_in_library(owner: Any, name: str) -> bool:
    base = next((one for one in type(owner).__mro__ if name in vars(one)), None)
    file = getattr(sys.modules.get(base.__module__), "__file__", None) if base is not None else None
    return not isinstance(file, str) or not users(file)  # written in C, or a library's


@lru_cache(maxsize=512)
def _options(kind: Any) -> frozenset[str]:
    """Names that a library's class is constructed with."""
    try:
        return frozenset(inspect.signature(kind.__init__).parameters) - {"self", "args", "kwargs"}
    except (TypeError, ValueError):
        return frozenset()


def _meant(owner: Any, name: str, fields: dict[str, Any]) -> str:
    """The field that the object has and that a name may be a misspelling of; "" where there is none."""
    parts = [*fields.get("_parameters", ()), *fields.get("_buffers", ()), *fields.get("_modules", ())]
    data = [one for one in fields if one != name] + parts
    data += [one for one in dir(type(owner)) if not callable(inspect.getattr_static(type(owner), one, None))]
    return _nearest(name, data)


def _meant_of_library(owner: Any, name: str) -> str:
    """The same among what the libraries' classes define that an object's class is derived from."""
    names = [
        one
        for base in type(owner).__mro__
        if base is not object and not users(str(getattr(sys.modules.get(base.__module__), "__file__", "")))
        for one, value in vars(base).items()
        if not callable(value)
    ]
    return _nearest(name, names)


def _nearest(name: str, names: list[str]) -> str:
    if len(name) < SHORTEST or name.startswith("_"):
        return ""
    plain = re.sub(r"\d+", "", name)
    near = [
        one
        for one in names
        if not one.startswith("_") and len(one) >= SHORTEST - 1 and re.sub(r"\d+", "", one) != plain
    ]
    found = difflib.get_close_matches(name, near, 1, ALIKE)
    return found[0] if found else ""
