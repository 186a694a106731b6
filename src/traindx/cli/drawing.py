"""Live progress on stderr; a plain line every half minute where stderr is not a terminal (a log, a queue)."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from traindx.durations import format_duration
from traindx.progress import Listener, Progress

if TYPE_CHECKING:
    from rich.progress import Progress as Bars
    from rich.progress import TaskID


EVERY = 30.0
"""Seconds between two lines in a log."""


@contextmanager
def progress_shown() -> Iterator[Listener]:
    """A listener that draws one line a stage for as long as the context lasts."""
    if not sys.stderr.isatty():
        yield Lines().hear
        return
    from rich.console import Console
    from rich.progress import BarColumn, SpinnerColumn, TextColumn, TimeElapsedColumn
    from rich.progress import Progress as Bars

    with Bars(
        SpinnerColumn(finished_text="[green]✓"),
        TextColumn("[bold]{task.fields[stage]}"),
        BarColumn(bar_width=28),
        TimeElapsedColumn(),
        TextColumn("[dim]{task.fields[left]}"),
        TextColumn("{task.description}"),
        console=Console(stderr=True),
    ) as bars:
        yield Drawing(bars).hear


class Lines:
    """Plain lines of progress for logs: none in the first half minute, then one every half minute."""

    def __init__(self) -> None:
        self._last = time.monotonic()

    def hear(self, step: Progress) -> None:
        """Say one step if the last line is long ago."""
        now = time.monotonic()
        if now - self._last < EVERY:
            return
        self._last = now
        left = f", {format_duration(step.seconds_left)} left" if step.seconds_left is not None else ""
        from traindx.report.printable import printable_text

        print(f"traindx: {step.stage}: {printable_text(step.message)}{left}", file=sys.stderr, flush=True)


class Drawing:
    """Turns what is recorded into lines of a rich progress display."""

    def __init__(self, bars: Bars) -> None:
        self._bars = bars
        self._tasks: dict[str, TaskID] = {}

    def hear(self, step: Progress) -> None:
        """Show one step; a new stage closes the ones before it."""
        from rich.markup import escape

        if step.stage not in self._tasks:
            for task in self._tasks.values():
                self._finish(task)
            self._tasks[step.stage] = self._bars.add_task("", total=None, stage=step.stage, left="")
        left = f"{format_duration(step.seconds_left)} left" if step.seconds_left is not None else ""
        self._bars.update(
            self._tasks[step.stage],
            description=escape(step.message),
            completed=step.done,
            total=step.total or None,
            left=left,
        )

    def _finish(self, task: TaskID) -> None:
        if not self._bars.tasks[self._bars.task_ids.index(task)].finished:
            self._bars.update(task, total=1, completed=1, left="")
