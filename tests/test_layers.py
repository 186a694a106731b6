"""The layers of the house: who may import whom."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent
PACKAGE = ROOT / "src" / "traindx"


def test_import_contracts_hold(monkeypatch: pytest.MonkeyPatch) -> None:
    from importlinter.cli import lint_imports

    monkeypatch.chdir(ROOT)
    assert lint_imports(config_filename=str(ROOT / "pyproject.toml"), no_cache=True) == 0


def imports(path: Path) -> set[str]:
    """Names of modules that a file imports anywhere in it, as written."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found.update(alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            found.add(node.module)
            found.update(f"{node.module}.{alias.name}" for alias in node.names)
    return found


def test_rules_never_import_what_runs_models() -> None:
    heavy = ("torch", "monai", "diffusers", "lightning", "nanodrr", "torchmetrics")
    fault_found = {
        str(path.relative_to(PACKAGE)): sorted(name for name in imports(path) if name.split(".")[0] in heavy)
        for path in (PACKAGE / "rules").rglob("*.py")
    }
    assert {path: names for path, names in fault_found.items() if names} == {}


def test_no_module_imports_torchvision() -> None:
    fault_found = [
        path.relative_to(ROOT).as_posix()
        for folder in ("src", "tests", "benchmarks", "scripts")
        for path in (ROOT / folder).rglob("*.py")
        if any(name.split(".")[0] == "torchvision" for name in imports(path))
    ]
    assert fault_found == []


def import_graph(package: Path = PACKAGE) -> dict[str, set[str]]:
    """Modules of the package by what they import, anywhere in the file and for types alone too."""
    names = {}
    for path in package.rglob("*.py"):
        parts = ("traindx", *path.relative_to(package).with_suffix("").parts)
        names[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    graph: dict[str, set[str]] = {}
    for name, path in names.items():
        found: set[str] = set()
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Import):
                found.update(alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
                for alias in node.names:
                    inner = f"{node.module}.{alias.name}"
                    found.add(inner if inner in names else node.module)
        graph[name] = (found & names.keys()) - {name}
    return graph


def circles(graph: dict[str, set[str]]) -> list[set[str]]:
    """Strongly connected components of more than one module (Kosaraju)."""
    order: list[str] = []
    seen: set[str] = set()
    for start, first in graph.items():
        stack = [(start, iter(first))] if start not in seen else []
        seen.add(start)
        while stack:
            name, rest = stack[-1]
            step = next((other for other in rest if other not in seen), None)
            if step is None:
                order.append(name)
                stack.pop()
            else:
                seen.add(step)
                stack.append((step, iter(graph[step])))
    importers: dict[str, set[str]] = {name: set() for name in graph}
    for name, imported in graph.items():
        for other in imported:
            importers[other].add(name)
    found: list[set[str]] = []
    seen = set()
    for start in reversed(order):
        if start in seen:
            continue
        group, todo = set(), [start]
        while todo:
            name = todo.pop()
            if name not in seen:
                seen.add(name)
                group.add(name)
                todo += importers[name] - seen
        if len(group) > 1:
            found.append(group)
    return found


def test_circles_are_found_whatever_their_length() -> None:
    graph = {"a": {"b"}, "b": {"c"}, "c": {"a", "d"}, "d": {"e"}, "e": set(), "f": {"g"}, "g": {"f"}}
    assert sorted(map(sorted, circles(graph))) == [["a", "b", "c"], ["f", "g"]]


def test_no_import_circle() -> None:
    assert [sorted(group) for group in circles(import_graph())] == []
