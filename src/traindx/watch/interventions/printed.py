"""What the script prints or logs as text: ``print``, ``logging``, and whatever else writes to its output or errors."""

from __future__ import annotations

import builtins
import logging
import os
import sys
from collections.abc import Callable
from typing import Any

from traindx.watch.interventions.columns import named
from traindx.watch.interventions.readings import Readings
from traindx.watch.runtime.patching import Patches


class Printed:
    """Listens; what is shown does not change.

    The two streams are listened to themselves, since progress bars, loguru and rich write to them; ``print`` and
    ``logging`` beside them, for a script that has put other streams in their place, and since a logger's message is
    known here without what a formatter puts before it.
    """

    def __init__(self, readings: Readings, evaluating: Callable[[], bool]) -> None:
        self.readings = readings
        self.evaluating = evaluating
        self.patches = Patches()
        self.pid = os.getpid()
        self._recorded = 0  # pieces that the streams wrote
        self._muted = False  # what is written now was taken in already
        self._pending: dict[int, str] = {}

    def install(self) -> None:
        """``print``, ``logging`` and the streams, from the first line of the script on."""
        self.patches.wrap(builtins, "print", self._make_print)
        self.patches.wrap(logging.Logger, "callHandlers", self._make_handlers)
        for stream in (sys.stdout, sys.stderr):
            self._listen(stream)

    def _listen(self, stream: Any) -> None:
        original = getattr(stream, "write", None)
        if original is None:
            return
        number = id(stream)

        def write(text: Any) -> Any:
            if isinstance(text, str) and not self._muted:
                self._recorded += 1
                self._of_stream(number, text)
            return original(text)

        try:
            stream.write = write
        except (AttributeError, TypeError):  # a stream without attributes: print and logging are still listened to
            return

    def _of_stream(self, number: int, text: str) -> None:
        """Whole lines only: two streams that take turns must not be mixed within one."""
        pending = self._pending.get(number, "") + text
        whole, newline, rest = pending.rpartition("\n")
        self._pending[number] = rest[-20_000:]
        if newline:
            self._hear(whole + newline)

    def _hear(self, text: str) -> None:
        if os.getpid() == self.pid:
            self.readings.text(text, evaluating=self.evaluating())

    def _make_print(self, original: Any) -> Any:
        def show(*values: Any, **kwargs: Any) -> None:
            file, separator, end = (kwargs.get(name) for name in ("file", "sep", "end"))
            ours = not self._muted and (file is None or file in (sys.stdout, sys.stderr))
            columns = named(sys._getframe(1), values) if ours and end is None else ""
            recorded, before = self._recorded, self._muted
            self._muted = before or bool(columns)
            try:
                original(*values, **kwargs)
            finally:
                self._muted = before
            if columns:
                self._hear(f"{columns}\n")
            elif ours and self._recorded == recorded:
                text = (" " if separator is None else str(separator)).join(str(value) for value in values)
                self._hear(text + ("\n" if end is None else str(end)))

        return show

    def _make_handlers(self, original: Any) -> Any:
        def call_handlers(logger: Any, record: logging.LogRecord) -> Any:
            if record.levelno >= logging.INFO and not self._muted:
                self._hear(f"{record.getMessage()}\n")
            before, self._muted = self._muted, True
            try:
                return original(logger, record)
            finally:
                self._muted = before

        return call_handlers
