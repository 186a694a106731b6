"""Configuration files: which keys of a YAML, JSON or TOML file nothing ever read.

What the loaders return is a ``dict`` that remembers which of its keys were asked for. It is a real ``dict`` (``==``,
``isinstance``, ``json.dumps``, ``yaml.dump`` and pickling behave; pickles and YAML files hold plain mappings). What is
handed on in bulk (``**config``, ``.items()``, ``.values()``) counts as read. A key is reported only if, besides, no
source file of the user's mentions its name.
"""

from __future__ import annotations

import ast
import re
import sys
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

from traindx.core.frames import shown_path
from traindx.evidence.base import Record
from traindx.evidence.observed_state import ConfigFile
from traindx.watch.runtime.call_sites import CallSite, here, users
from traindx.watch.runtime.patching import Patches
from traindx.watch.runtime.source_text import parsed

MOST_KEYS = 2000
WRITERS = ("json", "yaml", "pickle", "copy", "pprint", "torch", "logging", "reprlib")


@dataclass
class _Node:
    """What was read of one mapping of a file."""

    path: str
    read: set[Any] = field(default_factory=set)
    in_bulk: bool = False

    def __deepcopy__(self, memo: Any) -> _Node:
        """A copy of a configuration still remembers for the original."""
        return self


class KeyAccessTracking(dict[Any, Any]):
    """A mapping that remembers which keys were asked for."""

    __slots__ = ("_node",)

    def __init__(self, content: dict[Any, Any], node: _Node) -> None:
        super().__init__(content)
        self._node = node

    def __getitem__(self, key: Any) -> Any:
        self._node.read.add(key)
        return super().__getitem__(key)

    def get(self, key: Any, default: Any = None) -> Any:
        """As ``dict.get``."""
        self._node.read.add(key)
        return super().get(key, default)

    def pop(self, key: Any, *default: Any) -> Any:
        """As ``dict.pop``."""
        self._node.read.add(key)
        return super().pop(key, *default)

    def setdefault(self, key: Any, default: Any = None) -> Any:
        """As ``dict.setdefault``."""
        self._node.read.add(key)
        return super().setdefault(key, default)

    def __contains__(self, key: object) -> bool:
        self._node.read.add(key)
        return super().__contains__(key)

    def __iter__(self) -> Iterator[Any]:
        self._bulk()
        return super().__iter__()

    def keys(self) -> Any:
        """As ``dict.keys``."""
        self._bulk()
        return super().keys()

    def values(self) -> Any:
        """As ``dict.values``."""
        self._bulk()
        return super().values()

    def items(self) -> Any:
        """As ``dict.items``."""
        self._bulk()
        return super().items()

    def copy(self) -> KeyAccessTracking:
        """As ``dict.copy``; the copy remembers for the original."""
        return KeyAccessTracking(dict.copy(self), self._node)

    def _bulk(self) -> None:
        """Handed on as a whole, unless somebody only writes it down."""
        frame = sys._getframe(2)
        module = str(frame.f_globals.get("__name__", "")).split(".")[0]
        if module not in WRITERS:
            self._node.in_bulk = True

    def __reduce_ex__(self, protocol: Any) -> Any:
        caller = str(sys._getframe(1).f_globals.get("__name__", ""))
        if caller == "copy":
            return (_again, (self._node,), None, None, iter(dict.items(self)))
        return (dict, (), None, None, iter(dict.items(self)))


def _again(node: _Node) -> KeyAccessTracking:
    return KeyAccessTracking({}, node)


def remember(content: Any, path: str, nodes: list[_Node]) -> Any:
    """Wrap the mappings of a parsed file."""
    if type(content) is dict:
        if len(nodes) > MOST_KEYS:
            return content
        node = _Node(path)
        nodes.append(node)
        return KeyAccessTracking(
            {key: remember(value, f"{path}.{key}" if path else str(key), nodes) for key, value in content.items()}, node
        )
    if type(content) is list:
        return [remember(value, f"{path}[{index}]", nodes) for index, value in enumerate(content)]
    return content


def plain(content: Any) -> Any:
    """Without wrappers, for writers that look at exact types."""
    if isinstance(content, KeyAccessTracking):
        return {key: plain(value) for key, value in dict.items(content)}
    if type(content) in (list, tuple):
        return type(content)(plain(value) for value in content)
    if type(content) is dict:
        return {key: plain(value) for key, value in content.items()}
    return content


@dataclass
class _Read:
    file: str
    site: CallSite
    leaves: dict[str, Any]
    nodes: list[_Node]


class Configs:
    """Patches the loaders when their modules are imported."""

    def __init__(self) -> None:
        self.patches = Patches()
        self.reads: list[_Read] = []
        self.active = True

    def install_json(self, json: ModuleType) -> None:
        """``json.load`` of a file."""

        def make(original: Any) -> Any:
            def load(file: Any, *args: Any, **kwargs: Any) -> Any:
                return self._loaded(original(file, *args, **kwargs), file)

            return load

        self.patches.wrap(json, "load", make)

    def install_toml(self, tomllib: ModuleType) -> None:
        """``tomllib.load``."""
        self.install_json(tomllib)

    def install_yaml(self, yaml: ModuleType) -> None:
        """``yaml.safe_load`` and its like, and the dumpers, which insist on exact types."""

        def make(original: Any) -> Any:
            def load(stream: Any, *args: Any, **kwargs: Any) -> Any:
                return self._loaded(original(stream, *args, **kwargs), stream)

            return load

        for name in ("load", "safe_load", "full_load", "unsafe_load"):
            self.patches.wrap(yaml, name, make)

        def represent(dumper: Any, data: Any) -> Any:
            return dumper.represent_dict(dict.items(data))

        for name in ("SafeDumper", "Dumper", "CSafeDumper", "CDumper"):
            dumper = getattr(yaml, name, None)
            if dumper is not None:
                dumper.add_representer(KeyAccessTracking, represent)

    def install_torch(self, torch: Any) -> None:
        """A checkpoint must hold plain mappings, or it could not be read with ``weights_only``."""

        def make(original: Any) -> Any:
            def save(obj: Any, *args: Any, **kwargs: Any) -> Any:
                return original(plain(obj) if self.reads else obj, *args, **kwargs)

            return save

        self.patches.wrap(torch, "save", make)

    def _loaded(self, content: Any, stream: Any) -> Any:
        caller = sys._getframe(2).f_code.co_filename
        name = getattr(stream, "name", None)
        if not self.active or type(content) is not dict or not isinstance(name, str) or not users(caller):
            return content
        site = here()
        leaves = dict(leaf_keys(content))
        if site is None or not leaves or len(leaves) > MOST_KEYS or len(self.reads) > 16:
            return content
        nodes: list[_Node] = []
        wrapped = remember(content, "", nodes)
        self.reads.append(_Read(str(Path(name).resolve()), site, leaves, nodes))
        return wrapped

    def records(self) -> Iterable[Record]:
        """One record a file."""
        mentioned: set[str] | None = None
        for entry in self.reads:
            read, bulk = set(), []
            for node in entry.nodes:
                prefix = f"{node.path}." if node.path else ""
                read |= {f"{prefix}{key}" for key in node.read}
                if node.in_bulk:
                    bulk.append(node.path or "everything")
                    read |= {key for key in entry.leaves if key.startswith(prefix) and "." not in key[len(prefix) :]}
            unread = [key for key in entry.leaves if key not in read]
            if unread and mentioned is None:
                mentioned = names_in_sources()
            doubtful = [
                key
                for key in unread
                if isinstance(entry.leaves[key], int | float)
                and not isinstance(entry.leaves[key], str)
                and key.split(".")[-1] not in (mentioned or set())
            ][:32]
            text = Path(entry.file).read_text(encoding="utf-8", errors="replace").splitlines()
            yield ConfigFile(
                file=shown_path(entry.file),
                where=entry.site.location(),
                keys=len(entry.leaves),
                read=len(entry.leaves) - len(unread),
                unread=tuple(doubtful),
                lines=tuple(line_of(key, text) for key in doubtful),
                values=tuple(str(entry.leaves[key]) for key in doubtful),
                in_bulk=tuple(bulk),
            )


def leaf_keys(content: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names of everything that is not a mapping or a list of mappings."""
    for key, value in content.items():
        path = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, dict):
            yield from leaf_keys(value, path)
        elif not isinstance(value, list) or not any(isinstance(item, dict) for item in value):
            yield path, value


def names_in_sources() -> set[str]:
    """What the user's loaded source files may ask for: strings, in parts, and attributes of anything but ``self``.

    Fields of data classes count, too, as configurations are turned into them. Names of parameters do not: a setting
    that is never passed on to the function that has a parameter for it is the very fault.
    """
    names: set[str] = set()
    files = {getattr(module, "__file__", None) for module in list(sys.modules.values())}
    for filename in files:
        if isinstance(filename, str) and filename.endswith(".py") and users(filename):
            tree = parsed(filename)
            for node in ast.walk(tree) if tree is not None else ():
                if isinstance(node, ast.Constant) and isinstance(node.value, str):
                    names.update(re.split(r"[./]", node.value) if len(node.value) < 200 else ())
                elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                    if not (isinstance(node.value, ast.Name) and node.value.id == "self"):
                        names.add(node.attr)
                elif isinstance(node, ast.ClassDef):
                    fields = (item.target for item in node.body if isinstance(item, ast.AnnAssign))
                    names.update(field.id for field in fields if isinstance(field, ast.Name))
    return names


def line_of(key: str, lines: list[str]) -> int:
    """Line of a dotted key in a YAML, JSON or TOML file: its parts in order, each below the one before."""
    start = 0
    for part in key.split("."):
        pattern = re.compile(rf"^\s*[\"'\[]*{re.escape(part)}[\"'\]]*\s*[:=\]]|^\s*\[.*\b{re.escape(part)}\]")
        found = next((i for i in range(start, len(lines)) if pattern.search(lines[i])), None)
        if found is None:
            found = next((i for i in range(start, len(lines)) if re.search(rf"\b{re.escape(part)}\b", lines[i])), None)
        if found is None:
            return 0
        start = found
        last = found
    return last + 1
