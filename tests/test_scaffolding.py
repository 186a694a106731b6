"""Beginning a rule, a check or a collector by its script: registered at once, and red until it is filled in."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parent.parent


@pytest.fixture(scope="module")
def house(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of what the scripts write to."""
    folder = tmp_path_factory.mktemp("house")
    hidden = shutil.ignore_patterns("__pycache__", "recipes", "assets", "faults")
    shutil.copytree(ROOT / "src", folder / "src", ignore=hidden)
    shutil.copytree(ROOT / "scripts", folder / "scripts", ignore=hidden)
    shutil.copy(ROOT / "pyproject.toml", folder)
    return folder


def python(house: Path, *words: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(house / "src")}
    return subprocess.run(
        [sys.executable, *words], cwd=house, env=environment, text=True, capture_output=True, check=False
    )


def test_a_new_rule_is_in_the_catalogue_and_its_three_tests_fail(house: Path) -> None:
    made = python(house, "scripts/new_rule.py", "O498", "made-by-a-test", "--record", "OptimizerSeen",
                  "--module", "observed_optim")  # fmt: skip
    assert made.returncode == 0, made.stderr
    listed = python(house, "-c", "from traindx.rules import catalogue; print(catalogue()['O498'].name)")
    assert listed.stdout.strip() == "made-by-a-test", listed.stderr
    run = python(house, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-c", os.devnull, "tests/rules/optimisation")
    assert "3 failed" in run.stdout, run.stdout
    again = python(house, "scripts/new_rule.py", "O498", "another-name")
    assert again.returncode == 2
    assert "taken by made-by-a-test" in again.stderr


def test_a_new_check_and_a_new_collector_are_registered(house: Path) -> None:
    assert python(house, "scripts/new_check.py", "training", "asked-by-a-test").returncode == 0
    assert python(house, "scripts/new_collector.py", "seen-by-a-test").returncode == 0
    listed = python(
        house,
        "-c",
        "from traindx.checks import catalogue\nfrom traindx.watch.runtime.assembly import COLLECTORS\n"
        "print([one.name for one in catalogue()][-1], *[one.__name__ for one in COLLECTORS])",
    )
    name, *collectors = listed.stdout.split()
    assert name == "asked-by-a-test", listed.stderr
    assert collectors.index("SeenByATest") < collectors.index("InputInfluence"), "a collector comes before the probes"


def test_a_wrong_name_says_what_was_expected(house: Path) -> None:
    for words, expected in (
        (("scripts/new_rule.py", "Q1", "x"), "of no family"),
        (("scripts/new_check.py", "nowhere", "x"), "there is no folder checks/nowhere"),
    ):
        said = python(house, *words)
        assert said.returncode == 2
        assert expected in said.stderr
