"""Scripts written to a temporary folder and run, watched or not, in processes of their own."""

from __future__ import annotations

import os
import subprocess
import sys
import textwrap
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from traindx.diagnosis import Diagnosis
from traindx.evidence import Evidence
from traindx.evidence.observed import ScriptRun
from traindx.host.diagnose import diagnose
from traindx.host.runner import Patience, run_script
from traindx.watch.runtime.settings import Settings
from traindx.watch.runtime.sink import compact


@dataclass
class Watched:
    """What became of a script that was watched."""

    folder: Path
    out: Path
    run: ScriptRun
    evidence: Evidence
    diagnosis: Diagnosis
    stdout: bytes

    def of(self, kind: type[Any]) -> list[Any]:
        return self.evidence.of(kind)

    def one(self, kind: type[Any]) -> Any:
        (record,) = self.evidence.of(kind)
        return record

    @property
    def codes(self) -> list[str]:
        return [finding.code for finding in self.diagnosis.findings]


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a script and say where it is."""

    def make(source: str, name: str = "train.py") -> Path:
        path = tmp_path / "project" / name
        path.parent.mkdir(exist_ok=True)
        path.write_text(textwrap.dedent(source).lstrip("\n"), encoding="utf-8")
        return path

    return make


@pytest.fixture
def watch(tmp_path: Path, write: Callable[..., Path]) -> Callable[..., Watched]:
    """Run a script under observation; what it prints is kept."""
    count = iter(range(100))

    def go(source: str | Path, *arguments: str, patience: Patience | None = None, **settings: Any) -> Watched:
        script = source if isinstance(source, Path) else write(source)
        out = tmp_path / f"out{next(count)}"
        out.mkdir()
        fields = {"target": str(script), "arguments": arguments, "out": str(out), **settings}
        with (out / "stdout").open("wb") as output:
            run = run_script(Settings(**fields), patience=patience, output=output.fileno())
        compact(out)
        diagnosis = diagnose(out, run)
        evidence = Evidence.load(out) if (out / "evidence.jsonl").exists() else Evidence()
        return Watched(script.parent, out, run, evidence, diagnosis, (out / "stdout").read_bytes())

    return go


@pytest.fixture
def plain(write: Callable[..., Path]) -> Callable[..., subprocess.CompletedProcess[bytes]]:
    """Run a script as ``python SCRIPT`` does."""

    def go(source: str | Path, *arguments: str) -> subprocess.CompletedProcess[bytes]:
        script = source if isinstance(source, Path) else write(source)
        return subprocess.run(
            [sys.executable, str(script), *arguments], capture_output=True, check=False, env=dict(os.environ)
        )

    return go
