"""Arms of scripts that run in a fork of a process with torch in it, and scripts whose lines are edited by hand."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from forked import Zygote
from traindx.finding import Finding, Location, Proposal, Severity, Standing
from traindx.host import examining
from traindx.trials.script import pairing
from traindx.trials.script.pairing import ArmResult, run_arm
from traindx.watch.runtime.settings import Settings


@pytest.fixture(scope="session")
def zygote() -> Iterator[Zygote]:
    made = Zygote()
    yield made
    made.close()


@pytest.fixture
def forked(zygote: Zygote, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """Arms run in forks; the working directory is a fresh one."""
    monkeypatch.setattr(pairing, "run_script", zygote.run_script)
    monkeypatch.setattr(examining, "run_script", zygote.run_script)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def finding_at(code: str, source: str, text: str, *proposals: Proposal, variant: str = "") -> Finding:
    """Something demonstrated at the one line of ``train.py`` that holds a text."""
    return Finding(
        code=code,
        name="a-rule",
        message="m",
        severity=Severity.MAJOR,
        standing=Standing.DEMONSTRATED,
        location=Location(file="train.py", line=line_of(source, text)),
        proposals=proposals,
        variant=variant,
    )


RunArm = Callable[..., ArmResult]


@pytest.fixture
def arm(forked: Path) -> RunArm:
    """``arm(source, *treatments)``: run a script once; fails the test if it does not run."""
    count = 0

    def run(source: str, *treatments: dict[str, Any], pair: int = 0, name: str = "train.py", **kw: Any) -> ArmResult:
        nonlocal count
        count += 1
        (forked / name).write_text(source, encoding="utf-8")
        may_break = kw.pop("may_break", False)
        result = run_arm(
            Settings(target=name), directory=forked / "arms" / str(count), pair=pair, treatments=treatments, **kw
        )
        log = (forked / "arms" / str(count) / "output.txt").read_text(encoding="utf-8")
        assert may_break or not result.broke, f"{result.broke}\n{log}"
        return result

    return run


def line_of(source: str, text: str) -> int:
    """Number of the one line that holds a text."""
    found = [number for number, line in enumerate(source.splitlines(), start=1) if text in line]
    assert len(found) == 1, f"{text!r} is in lines {found}"
    return found[0]


def values_of(result: ArmResult, name: str) -> tuple[float, ...]:
    """Readings of a figure."""
    return next(one.values for one in result.figures if one.name == name)


def edited(source: str, *changes: Sequence[str]) -> str:
    """A source edited by hand: pairs of old and new text, each old one present exactly once."""
    for old, new in changes:
        assert source.count(old) == 1, f"{old!r} is there {source.count(old)} times"
        source = source.replace(old, new)
    return source
