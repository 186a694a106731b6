"""Progress is drawn on a terminal; a log gets a plain line now and then."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys

import pytest
from rich.console import Console
from rich.progress import Progress as Bars
from rich.progress import TextColumn

from traindx.cli import drawing
from traindx.cli.drawing import Drawing, progress_shown
from traindx.progress import Progress


def drawn(*steps: Progress) -> tuple[Bars, str]:
    out = io.StringIO()
    columns = [TextColumn("{task.fields[stage]}|{task.fields[left]}|{task.percentage:.0f}|{task.description}")]
    with Bars(*columns, console=Console(file=out, force_terminal=True, width=100)) as bars:
        drawing = Drawing(bars)
        for step in steps:
            drawing.hear(step)
    return bars, out.getvalue()


def test_a_line_a_stage_with_time_left() -> None:
    bars, text = drawn(
        Progress("checks", "the sampler", 1, 4),
        Progress("trials", "arm 3 of 7 [skip]", 3, 12, seconds_left=65),
    )
    assert [task.fields["stage"] for task in bars.tasks] == ["checks", "trials"]
    assert bars.tasks[0].finished
    assert not bars.tasks[1].finished
    assert "trials|1 min 05 s left|25|arm 3 of 7 [skip]" in text


def test_a_stage_without_a_known_length_and_one_that_comes_back() -> None:
    bars, _ = drawn(Progress("a", "x"), Progress("b", "y", 1, 2), Progress("a", "z", 5), Progress("b", "y", 2, 2))
    assert len(bars.tasks) == 2
    assert bars.tasks[1].finished


def test_nothing_at_once_without_a_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    with progress_shown() as listener:
        listener(Progress("checks", "the sampler", 1, 4))
    assert capsys.readouterr() == ("", "")


def test_something_on_a_terminal() -> None:
    code = (
        "from traindx.cli.drawing import progress_shown\nfrom traindx.progress import Progress\n"
        "with progress_shown() as listener:\n    listener(Progress('checks', 'the sampler', 1, 4))\n"
    )
    master, terminal = pty.openpty()
    environment = {**os.environ, "TERM": "xterm", "COLUMNS": "100"}
    done = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=terminal, env=environment, check=True
    )
    os.close(terminal)
    text = os.read(master, 100_000).decode()
    os.close(master)
    assert done.stdout == b""
    assert "the sampler" in text


def test_a_log_gets_a_line_every_half_minute(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    now = iter((0.0, 10.0, 31.0, 40.0, 62.0))
    monkeypatch.setattr(drawing.time, "monotonic", lambda: next(now))
    lines = drawing.Lines()
    for done in (1, 2, 3, 4):
        lines.hear(Progress("reading", f"{done} of 4 files\x1b[2J", done, 4, 90.0))
    said = capsys.readouterr().err.splitlines()
    assert said == [f"traindx: reading: {done} of 4 files, {drawing.format_duration(90.0)} left" for done in (2, 4)]
