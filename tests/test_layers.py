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
