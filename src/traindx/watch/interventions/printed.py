"""What the script prints or logs as text: ``print``, ``logging`` and ``tqdm.write``."""

from __future__ import annotations

import builtins
import logging
import os
import sys
from collections.abc import Callable
from types import ModuleType
from typing import Any

from traindx.watch.interventions.readings import Readings
from traindx.watch.runtime.patching import Patches


class Printed:
    """Listens; what is shown does not change."""

    def __init__(self, readings: Readings, evaluating: Callable[[], bool]) -> None:
        self.readings = readings
        self.evaluating = evaluating
        self.patches = Patches()
        self.pid = os.getpid()

    def install(self) -> None:
        """``print`` and ``logging``, from the first line of the script on."""
        self.patches.wrap(builtins, "print", self._make_print)
        self.patches.wrap(logging.Logger, "callHandlers", self._make_handlers)

    def install_tqdm(self, module: ModuleType) -> None:
        """``tqdm.write``, when tqdm was imported."""
        kind = getattr(module, "tqdm", None)
        write = vars(kind).get("write") if isinstance(kind, type) else None
        if not isinstance(write, classmethod):
            return
        original, hear = write.__func__, self._hear

        def recorded(cls: Any, s: Any, *args: Any, **kwargs: Any) -> Any:
            hear(f"{s}\n")
            return original(cls, s, *args, **kwargs)

        setattr(kind, "write", classmethod(recorded))  # noqa: B010

    def _hear(self, text: str) -> None:
        if os.getpid() == self.pid:
            self.readings.text(text, evaluating=self.evaluating())

    def _make_print(self, original: Any) -> Any:
        def show(*values: Any, **kwargs: Any) -> None:
            file = kwargs.get("file")
            if file is None or file in (sys.stdout, sys.stderr):
                separator, end = kwargs.get("sep"), kwargs.get("end")
                text = (" " if separator is None else str(separator)).join(str(value) for value in values)
                self._hear(text + ("\n" if end is None else str(end)))
            original(*values, **kwargs)

        return show

    def _make_handlers(self, original: Any) -> Any:
        def call_handlers(logger: Any, record: logging.LogRecord) -> Any:
            if record.levelno >= logging.INFO:
                self._hear(f"{record.getMessage()}\n")
            return original(logger, record)

        return call_handlers
