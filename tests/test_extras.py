"""The core stays thin: what it imports, and what it says where an extra is missing."""

from __future__ import annotations

import ast
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

import traindx
from traindx import extras
from traindx.recipes import registry

ROOT = Path(__file__).parents[1]
SOURCES = Path(traindx.__file__).parent
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
OUTSIDE_CORE = {module for modules in extras.MODULES.values() for module in modules}
MAY_USE = {
    "data": ("data",),
    "recipes": ("data", "recipes", "serve", "dicom"),
    "faults": ("data", "recipes"),
    "testing": ("data", "recipes"),
    "trials": ("recipes", "cluster"),  # lists of claims are about a recipe
}


def imported(path: Path) -> set[str]:
    """Top-level names of everything that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and not node.level and node.module:
            found.add(node.module.partition(".")[0])
    return found


def test_only_rooms_with_an_extra_import_what_is_not_in_the_core():
    for path in SOURCES.rglob("*.py"):
        room = path.relative_to(SOURCES).parts[0]
        allowed = {module for extra in MAY_USE.get(room, ()) for module in extras.MODULES[extra]}
        wrong = imported(path) & OUTSIDE_CORE - allowed
        assert not wrong, f"{path.relative_to(SOURCES)} imports {wrong}"


def test_the_core_depends_on_nothing_else():
    names = {line.partition(">")[0] for line in PROJECT["dependencies"]}
    assert names == {"torch", "numpy", "scipy", "pydantic", "rich", "typer", "jinja2", "libcst", "pillow"}
    assert set(extras.MODULES) <= set(PROJECT["optional-dependencies"])


def test_importing_traindx_imports_nothing_heavy():
    code = "import sys, traindx, traindx.cli.app; print(*sorted({n.partition('.')[0] for n in sys.modules}))"
    names = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not set(names) & {"torch", "scipy", "numpy", *OUTSIDE_CORE}


@pytest.mark.parametrize(
    ("arguments", "extra"),
    [
        (["examine", "recipe:fusion"], "recipes"),
        (["train", "segmentation"], "recipes"),
        (["demo", "--out", "out"], "recipes"),
        (["faults"], "recipes"),
        (["export", "fusion"], "recipes"),
        (["data", "folder", "--out", "out"], "data"),
    ],
)
def test_a_missing_extra_is_one_sentence_and_a_command(arguments, extra, tmp_path):
    (tmp_path / "folder").mkdir()
    code = f"""
import sys
class Missing:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in {sorted(OUTSIDE_CORE)}:
            raise ModuleNotFoundError(name)
sys.meta_path.insert(0, Missing())
import traindx.extras
traindx.extras.find_spec = lambda name: None
from traindx.cli.app import run
sys.exit(run({arguments}))
"""
    command = [sys.executable, "-c", code]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert ended.returncode == 2, ended.stderr
    assert f"pip install 'traindx[{extra}]'" in ended.stderr
    assert "Traceback" not in ended.stderr


def test_what_is_there_is_not_missed():
    assert extras.missing("data") == []
    assert registry()["fusion"].case is not None
