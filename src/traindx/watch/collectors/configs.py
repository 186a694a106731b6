"""Configuration files: which keys of a YAML, JSON or TOML file nothing asks for.

What a loader returns is the script's own and stays as it is. That a file was read, where, and which keys it has, is
noted; who asks for which key is told from the sources (:mod:`~traindx.watch.collectors.config_use`). A key is reported
only if, besides, no source file of the script's mentions its name.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any

from traindx.core.frames import shown_path
from traindx.evidence.base import Record
from traindx.evidence.observed_state import ConfigFile
from traindx.watch.collectors.config_use import Use, mappings_in, use_of
from traindx.watch.runtime.call_sites import CallSite, here, users
from traindx.watch.runtime.calling import caller_of_ours
from traindx.watch.runtime.patching import Patches
from traindx.watch.runtime.source_trees import source_files, trees_of
from traindx.watch.runtime.syntax import walk

MOST_KEYS = 2000
MOST_FILES = 16


@dataclass
class _Read:
    file: str
    site: CallSite
    leaves: dict[str, Any]
    mappings: set[str]


class Configs:
    """Patches the loaders when their modules are imported."""

    def __init__(self) -> None:
        self.patches = Patches()
        self.reads: list[_Read] = []
        self.active = True
        self._uses: dict[tuple[int, int], Use] = {}

    def install_json(self, json: ModuleType) -> None:
        """``json.load`` of a file."""
        self._install(json, ("load",))

    def install_toml(self, tomllib: ModuleType) -> None:
        """``tomllib.load``."""
        self._install(tomllib, ("load",))

    def install_yaml(self, yaml: ModuleType) -> None:
        """``yaml.safe_load`` and its like."""
        self._install(yaml, ("load", "safe_load", "full_load", "unsafe_load"))

    def _install(self, module: ModuleType, names: Iterable[str]) -> None:
        def make(original: Any) -> Any:
            def load(*args: Any, **kwargs: Any) -> Any:
                content = original(*args, **kwargs)
                if self.active and args:
                    try:
                        self._loaded(content, args[0])
                    except Exception:  # what it was is not known then, which accuses nobody
                        return content
                return content

            return load

        for name in names:
            self.patches.wrap(module, name, make)

    def _loaded(self, content: Any, stream: Any) -> None:
        name = getattr(stream, "name", None)
        if type(content) is not dict or not isinstance(name, str) or len(self.reads) >= MOST_FILES:
            return
        if not users(caller_of_ours(2).f_code.co_filename):
            return
        site = here()
        leaves = dict(leaf_keys(content))
        if site is not None and leaves and len(leaves) <= MOST_KEYS:
            self.reads.append(_Read(str(Path(name).resolve()), site, leaves, set(mappings_in(content))))

    def _use(self, number: int, trees: dict[str, ast.Module]) -> Use:
        key = (number, len(trees))
        if key not in self._uses:
            entry = self.reads[number]
            self._uses[key] = use_of(trees, entry.site.file, entry.site.line, entry.mappings)
        return self._uses[key]

    def unread(self) -> Iterator[tuple[str, Any, str]]:
        """Dotted name, value and file of every leaf that no source asks for, as far as the sources can be followed."""
        trees = trees_of(source_files()) if self.reads else {}
        for number, entry in enumerate(self.reads):
            use = self._use(number, trees)
            yield from ((key, value, entry.file) for key, value in entry.leaves.items() if not use.covers(key))

    def records(self) -> Iterable[Record]:
        """One record a file."""
        trees = trees_of(source_files()) if self.reads else {}
        mentioned: set[str] | None = None
        for number, entry in enumerate(self.reads):
            use = self._use(number, trees)
            unread = [key for key in entry.leaves if not use.covers(key)]
            if unread and mentioned is None:
                mentioned = names_in(trees.values())
            doubtful = [
                key
                for key in unread
                if isinstance(entry.leaves[key], int | float) and key.split(".")[-1] not in (mentioned or set())
            ][:32]
            text = lines_of(entry.file) if doubtful else []
            yield ConfigFile(
                file=shown_path(entry.file),
                where=entry.site.location(),
                keys=len(entry.leaves),
                read=len(entry.leaves) - len(unread),
                unread=tuple(doubtful),
                lines=tuple(line_of(key, text) for key in doubtful),
                values=tuple(str(entry.leaves[key]) for key in doubtful),
                in_bulk=tuple(sorted(path or "everything" for path in use.bulk)),
            )


def leaf_keys(content: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted names of everything that is not a mapping or a list of mappings; only numbers and texts are kept."""
    for key, value in content.items():
        path = f"{prefix}.{key}" if prefix else str(key)
        if isinstance(value, dict):
            yield from leaf_keys(value, path)
        elif not isinstance(value, list) or not any(isinstance(item, dict) for item in value):
            yield path, value if isinstance(value, int | float | str) else None


def lines_of(file: str) -> list[str]:
    """Lines of a file, none if it is gone."""
    try:
        return Path(file).read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return []


def names_in(trees: Iterable[ast.Module], *, of_attributes: bool = True) -> set[str]:
    """What these sources may ask for: strings, in parts, and attributes of anything but ``self``.

    Fields of data classes count, too, as configurations are turned into them. Names of parameters do not: a setting
    that is never passed on to the function that has a parameter for it is the very fault.

    Args:
        trees: Syntax trees.
        of_attributes: Let the name that ``getattr`` and its like are given count, too.
    """
    names: set[str] = set()
    for tree in trees:
        left_out = set() if of_attributes else {id(name) for node in walk(tree) for name in attribute_names(node)}
        for node in walk(tree):
            if id(node) in left_out:
                continue
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                names.update(re.split(r"[./]", node.value) if len(node.value) < 200 else ())
            elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Load):
                if not (isinstance(node.value, ast.Name) and node.value.id == "self"):
                    names.add(node.attr)
            elif isinstance(node, ast.ClassDef):
                fields = (item.target for item in node.body if isinstance(item, ast.AnnAssign))
                names.update(field.id for field in fields if isinstance(field, ast.Name))
    return names


def attribute_names(node: ast.AST) -> list[ast.expr]:
    """The name that ``getattr(self.loss, "weight", 0)`` asks an object for, which is no configuration's key."""
    is_lookup = isinstance(node, ast.Call) and getattr(node.func, "id", "") in ("getattr", "hasattr", "setattr")
    if not is_lookup or not isinstance(node, ast.Call) or len(node.args) < 2:
        return []
    owner = node.args[0]
    return [node.args[1]] if isinstance(owner, ast.Attribute) and getattr(owner.value, "id", "") == "self" else []


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
