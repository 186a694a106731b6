"""Small scripts under real observation, in a fork of a process that has imported torch once."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path

import pytest

from traindx.finding import Finding
from traindx.host.diagnose import diagnose
from traindx.watch.runtime.settings import Settings
from traindx.watch.runtime.sink import compact
from trials_script.conftest import Zygote, zygote

__all__ = ["zygote"]

Examined = Callable[..., list[Finding]]


@pytest.fixture
def examined(zygote: Zygote, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Examined:
    """``examined(source)``: the findings on a script that was run under observation; it must have run to its end."""
    monkeypatch.chdir(tmp_path)

    def go(source: str) -> list[Finding]:
        out = tmp_path / "out"
        out.mkdir()
        (tmp_path / "train.py").write_text(textwrap.dedent(source).lstrip("\n"), encoding="utf-8")
        run = zygote.run_script(Settings(target="train.py", out=str(out)))
        compact(out)
        said = (out / "output.txt").read_text(encoding="utf-8") if (out / "output.txt").exists() else ""
        assert "Traceback" not in said, said
        return list(diagnose(out, run).findings)

    return go
