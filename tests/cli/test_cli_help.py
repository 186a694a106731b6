"""Help is fast, complete, and its examples work as they are printed."""

from __future__ import annotations

import json
import re
import shlex
import statistics
import subprocess
import sys
import time
from pathlib import Path

import pytest

from traindx import __version__
from traindx.cli.app import app, run

COMMANDS = [command.name or "" for command in app.registered_commands]
HEAVY = (
    "torch",
    "monai",
    "diffusers",
    "lightning",
    "nanodrr",
    "numpy",
    "scipy",
    "matplotlib",
    "PIL",
    "jinja2",
    "pydantic",
)


def help_of(command: str, capsys: pytest.CaptureFixture[str]) -> str:
    assert run([command, "--help"] if command else ["--help"]) == 0
    return capsys.readouterr().out


def examples_in(text: str) -> list[str]:
    """The commands under *Example* in a help text, joined where the terminal broke them."""
    body = re.split(r"^\s*Examples?:\s*$", text, flags=re.MULTILINE)[1]
    return [" ".join(block.split()) for block in re.split(r"\n\s*\n", body) if block.strip()]


def test_nothing_heavy_is_imported_before_a_command_runs() -> None:
    code = f"import sys, traindx.cli.app; print([name for name in {HEAVY!r} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_help_is_fast() -> None:
    """Measured at 0.25 s on two cores; the bound leaves room for a loaded machine."""
    times = []
    for _ in range(3):
        start = time.perf_counter()
        subprocess.run([sys.executable, "-m", "traindx", "--help"], capture_output=True, check=True)
        times.append(time.perf_counter() - start)
    assert statistics.median(times) < 2.0


def test_every_command_is_in_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    text = help_of("", capsys)
    for command in COMMANDS:
        assert re.search(rf"\b{command}\b", text)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_an_example_of_itself(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    examples = examples_in(help_of(command, capsys))
    assert examples
    assert all(example.startswith(f"traindx {command}") for example in examples)


def cheap(example: str) -> bool:
    """True for examples that neither train nor examine."""
    return example.endswith("--help") or shlex.split(example)[1] in ("explain", "rules", "faults")


@pytest.mark.parametrize("command", COMMANDS)
def test_cheap_examples_work_as_printed(
    command: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    examples = [example for example in examples_in(help_of(command, capsys)) if cheap(example)]
    if not examples:
        pytest.skip("its examples train or examine")
    monkeypatch.chdir(tmp_path)
    for example in examples:
        assert run(shlex.split(example)[1:]) == 0, example
        out = capsys.readouterr().out
        assert out.strip()
        if "--json" in example:
            json.loads(out)


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["--version"]) == 0
    assert capsys.readouterr().out == f"traindx {__version__}\n"


def test_no_command_prints_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    run([])
    both = capsys.readouterr()
    assert "Usage: traindx" in both.out + both.err
