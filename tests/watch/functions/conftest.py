"""Functions as a user writes them, compiled as a file of the user's and recorded without any child process."""

from __future__ import annotations

import itertools
import sys
import textwrap
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import pytest
import torch

from traindx.evidence import Evidence
from traindx.evidence.base import Record
from traindx.finding import Finding
from traindx.rules import catalogue
from traindx.watch.probes.live_calls import live_calls
from traindx.watch.probes.recorded import Recorder
from traindx.watch.probes.user_functions import tried

_numbers = itertools.count()


class Script:
    """A script of functions and a ``main`` that calls ``stop`` where the training runs."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.records: list[Record] = []

    def run(self) -> None:
        """Run it; where ``stop`` is called, the functions are recorded and tried."""

        def stop() -> None:
            recorder = Recorder(torch)
            for call in live_calls(sys._getframe(1)):
                with recorder.recording(5.0):
                    eval(call.expression, call.names)
            self.records = list(tried(torch, recorder.done()))

        module = sys.modules["script"] = ModuleType("script")  # where dataclasses look for their annotations
        vars(module).update(stop=stop)
        exec(compile(self.path.read_text(), str(self.path), "exec"), vars(module))
        module.main()

    def found(self, code: str, *more: Record) -> list[Finding]:
        """What one rule finds."""
        evidence = Evidence()
        for record in (*self.records, *more):
            evidence.add(record)
        rule = catalogue()[code]
        return rule.check(evidence) if rule.applies(evidence) else []

    def line(self, text: str) -> int:
        """The line that holds a text."""
        return next(number for number, line in enumerate(self.path.read_text().splitlines(), 1) if text in line)


@pytest.fixture
def script(tmp_path: Path) -> Callable[[str], Script]:
    """Write a script, run it and try its functions."""

    def make(source: str) -> Script:
        path = tmp_path / f"script{next(_numbers)}.py"
        path.write_text(textwrap.dedent(source).lstrip("\n"))
        made = Script(path)
        made.run()
        return made

    return make
