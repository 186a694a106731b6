"""Syntax trees of the script's own loaded sources, as long as there are few: a large program would wait for them."""

from __future__ import annotations

import ast
import linecache
from functools import lru_cache

from traindx.watch.runtime.call_sites import CallSite, loaded_files
from traindx.watch.runtime.source_text import parsed
from traindx.watch.runtime.syntax import walk

MOST_FILES = 48
MOST_LINES = 12_000  # a few tenths of a second of processor, once


def source_files() -> tuple[str, ...]:
    """The script's own loaded sources."""
    return tuple(name for name in loaded_files() if name.endswith(".py"))


def own_sources() -> dict[str, ast.Module]:
    """Trees by file; none at all for a large program, of which a part would tell what is not true of the whole."""
    files = source_files()
    return trees_of(files) if _few(files) else {}


@lru_cache(maxsize=1)
def _few(files: tuple[str, ...]) -> bool:
    return len(files) <= MOST_FILES and sum(len(linecache.getlines(file)) for file in files) <= MOST_LINES


@lru_cache(maxsize=1)
def trees_of(files: tuple[str, ...]) -> dict[str, ast.Module]:
    """Trees by file, parsed again only when there are other files."""
    trees = {name: parsed(name) for name in files}
    return {name: tree for name, tree in trees.items() if tree is not None}


def freezing_lines() -> list[CallSite]:
    """Statements of the sources that set ``requires_grad`` of something to False."""
    return [
        CallSite(file, node.lineno, "")
        for file, tree in own_sources().items()
        for node in walk(tree)
        if isinstance(node, ast.Assign)
        and any(isinstance(one, ast.Attribute) and one.attr == "requires_grad" for one in node.targets)
        and isinstance(node.value, ast.Constant)
        and node.value.value is False
    ]


def rate_setting_lines(files: frozenset[str]) -> list[CallSite]:
    """Statements that set the rate of a group by hand, ``group["lr"] = ...``: in these files, else in all sources."""
    near = {file: tree for file in sorted(files) if (tree := parsed(file)) is not None}
    for trees in (near, own_sources()):
        found = [
            CallSite(file, node.lineno, "")
            for file, tree in trees.items()
            for node in walk(tree)
            if isinstance(node, ast.Assign | ast.AugAssign)
            for target in (node.targets if isinstance(node, ast.Assign) else [node.target])
            if isinstance(target, ast.Subscript)
            and isinstance(target.slice, ast.Constant)
            and target.slice.value == "lr"
            and "default" not in ast.unparse(target.value)
        ]
        if found:
            return found
    return []
