"""There is one shortlist, one engine and one implementation of every treatment; the sides of treatments stay apart."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import traindx
from traindx.trials.treatments.declared import loaded
from traindx.trials.treatments.registry import EVERY

PACKAGE = Path(traindx.__file__).parent
TREATMENTS = PACKAGE / "trials" / "treatments"
SIDES = sorted(TREATMENTS.glob("*/script.py"))


def calling(*names: str) -> set[str]:
    """Files of the trials that call a function or a class method of one of these names."""
    found = set()
    for path in (PACKAGE / "trials").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and ast.unparse(node.func) in names:
                found.add(path.relative_to(PACKAGE).as_posix())
    return found


def test_one_shortlist_and_one_engine_decide_what_is_run() -> None:
    names = {"trials/shortlist.py", "trials/treatment.py", "trials/outcome.py"}
    assert (
        calling("canonical", "label") - {"trials/script/suspects.py"} == names
    )  # what a user adds goes to the shortlist
    assert calling("Design.of") == {"trials/engine.py"}
    for decides in ("fit", "sound_context", "judge"):
        assert calling(decides) <= {"trials/engine.py", "trials/planning.py"}, decides
    assert calling("results") == {"trials/engine.py"}


def test_every_treatment_is_declared_once_and_its_sides_are_its_own() -> None:
    assert len({(one.case, one.name) for one in EVERY.values()}) == len(EVERY)
    for one in EVERY.values():
        assert one.case or one.script, one.name
        folders = {side.partition(".")[0] for side in (one.case, one.script, one.fields) if side}
        assert len(folders) == 1, one.name
        assert one.title is not None or not (one.case and one.script), "two sides share one title"
        for side in ("case", "script", "fields"):
            if getattr(one, side):
                assert callable(loaded(one.path(side)))
    elsewhere = [path for path in (PACKAGE / "watch").rglob("*.py") if "RuntimeTreatment)" in path.read_text("utf-8")]
    assert elsewhere == []


@pytest.mark.parametrize("path", SIDES, ids=lambda path: path.parent.name)
def test_the_side_of_a_script_imports_nothing_of_the_parent(path: Path) -> None:
    """It runs in the user's process, which pays for whatever it imports."""
    for file in (path, path.parent / "__init__.py", TREATMENTS / "__init__.py", TREATMENTS / "declared.py"):
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
            names = [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            names += [alias.name for alias in node.names] if isinstance(node, ast.Import) else []
            for name in names:
                if name.startswith("traindx."):
                    assert f"{name}.".startswith(
                        ("traindx.watch.", "traindx.core.", "traindx.trials.treatments.declared.")
                    )
                else:
                    assert name.split(".")[0] in {*sys.stdlib_module_names, "numpy", "torch"}


def test_the_sides_of_scripts_bring_nothing_heavy() -> None:
    modules = [one.path("script").partition(":")[0] for one in EVERY.values() if one.script]
    code = f"import sys\nfor name in {modules!r}: __import__(name)\nprint('\\n'.join(sys.modules))"
    found = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert {"torch", "scipy", "traindx.case", "traindx.trials.engine", "traindx.trials.treatment"} & set(found) == set()
    assert modules[0] in found
