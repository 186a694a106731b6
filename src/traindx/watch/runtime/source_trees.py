"""Syntax trees of the script's own loaded sources, as long as there are few: a large program would wait for them."""

from __future__ import annotations

import ast
import linecache
from functools import lru_cache

from traindx.watch.runtime.call_sites import loaded_files
from traindx.watch.runtime.source_text import parsed

MOST_FILES = 48
MOST_LINES = 12_000  # a few tenths of a second of processor, once


def own_sources() -> dict[str, ast.Module]:
    """Trees by file; none at all for a large program, of which a part would tell what is not true of the whole."""
    return _trees(tuple(name for name in loaded_files() if name.endswith(".py")))


@lru_cache(maxsize=4)
def _trees(files: tuple[str, ...]) -> dict[str, ast.Module]:
    if len(files) > MOST_FILES or sum(len(linecache.getlines(file)) for file in files) > MOST_LINES:
        return {}
    trees = {name: parsed(name) for name in files}
    return {name: tree for name, tree in trees.items() if tree is not None}
