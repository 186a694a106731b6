"""Which files of a folder train something and can be run, read from their source alone."""

from __future__ import annotations

import ast
import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from traindx.notebooks import SUFFIX, read_cells

MOST_FILES = 3000
_NEVER = {
    "__pycache__",
    "node_modules",
    "site-packages",
    "traindx-out",
    "build",
    "dist",
    "venv",
    "env",
    "tests",
    "test",
}
_TRAINERS = {"fit", "train", "run"}  # methods of something that is called a trainer


@dataclass(frozen=True)
class Candidate:
    """A program that trains.

    Attributes:
        path: The file.
        why: What shows it.
    """

    path: Path
    why: str


@dataclass(frozen=True)
class _Read:
    trains: str
    runs: bool
    imports: frozenset[str]


def training_programs(folder: Path) -> list[Candidate]:
    """Scripts and notebooks below a folder that train and can be run, the likelier first.

    A file trains if it makes a backward pass and a step, or gives a network to a trainer; a file can be run if it has
    a ``__main__`` part or does that at its top level. A file that can be run and imports one of its neighbours that
    trains counts too.
    """
    read = {path: _read(path) for path in _files(folder)}
    known = {path: one for path, one in read.items() if one is not None}
    training = {path.stem: path for path, one in known.items() if one.trains and path.suffix == ".py"}
    found = []
    for path, one in known.items():
        why = one.trains
        if not why:
            used = sorted(name for name in one.imports & set(training) if training[name] != path)
            why = f"runs {used[0]}.py, which trains" if used else ""
        if why and one.runs:
            found.append(Candidate(path, why))
    own = [one for one in found if not one.why.startswith("runs ")]
    imported = set().union(*(known[one.path].imports for one in found)) if found else set()
    called = [one for one in own if one.path.stem not in imported]
    chosen = called or own or found
    return sorted(chosen, key=lambda one: (len(one.path.parts), not one.path.stem.startswith("train"), str(one.path)))


def _files(folder: Path) -> Iterator[Path]:
    count = 0
    for place, folders, names in os.walk(folder):
        folders[:] = sorted(name for name in folders if name not in _NEVER and not name.startswith("."))
        for name in sorted(names):
            if name.endswith((".py", SUFFIX)):
                count += 1
                if count > MOST_FILES:
                    return
                yield Path(place, name)


def _read(path: Path) -> _Read | None:
    """What a file's source shows; None where it cannot be read."""
    try:
        if path.suffix == SUFFIX:
            text = "\n".join(_parsable(cell.source) for cell in read_cells(path))
        else:
            text = path.read_text(encoding="utf-8", errors="replace")
        tree = ast.parse(text)
    except (OSError, ValueError, SyntaxError, RecursionError):
        return None
    calls = [node.func for node in ast.walk(tree) if isinstance(node, ast.Call)]
    names = {call.attr for call in calls if isinstance(call, ast.Attribute)}
    trains = "makes backward passes and steps" if {"backward", "step"} <= names else _by_trainer(tree)
    runs = path.suffix == SUFFIX or any(_acts(node) for node in tree.body)
    return _Read(trains, runs, frozenset(_imports(tree)))


def _by_trainer(tree: ast.Module) -> str:
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in _TRAINERS:
            owner = ast.unparse(node.func.value).lower()
            if "trainer" in owner:
                return f"calls {ast.unparse(node.func)}()"
    return ""


def _acts(node: ast.stmt) -> bool:
    """True for a statement at the top level that does more than define and import."""
    if isinstance(node, ast.If):
        return "__name__" in ast.unparse(node.test) or any(_acts(inner) for inner in node.body)
    if isinstance(node, ast.For | ast.While | ast.With | ast.Try):
        return any(isinstance(inner, ast.Call) for inner in ast.walk(node)) and not (
            isinstance(node, ast.Try) and all(isinstance(part, ast.Import | ast.ImportFrom) for part in node.body)
        )
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Call)


def _imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield alias.name.rpartition(".")[2]
        elif isinstance(node, ast.ImportFrom):
            if node.module:
                yield node.module.rpartition(".")[2]
            for alias in node.names:
                yield alias.name


def _parsable(source: str) -> str:
    """A cell without its magics and shell lines."""
    lines = source.split("\n")
    if lines and lines[0].startswith("%%") and not lines[0].startswith(("%%time", "%%capture")):
        return ""
    return "\n".join("" if line.lstrip().startswith(("%", "!", "?")) else line for line in lines)
