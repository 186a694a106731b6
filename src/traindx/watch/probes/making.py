"""How an item of a data set is made, line by line: in a forked child, so that nothing of the script can change.

What a batch shows (boxes with their corners swapped, a mask that does not lie on its image) says *that* a relation
broke. The line that broke it is found by making items once more under a line trace, in a child process that has the
data set as it is now, may write nothing to disk, and ends without running anybody's exit handlers.
"""

from __future__ import annotations

import json
import os
import random
import select
import signal
import sys
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from types import FrameType
from typing import Any

from traindx.watch.probes.confinement import confine, may_fork
from traindx.watch.runtime.call_sites import CallSite, users

SECONDS = 8.0  # of wall time, after which the child is ended
CPU_SECONDS = 4
ENOUGH_SECONDS = 1.5  # of processor time, after which no further item is begun
MOST_VALUES = 4_000_000
Looks = Callable[[dict[str, Any]], "bool | None"]
"""Given the arrays that a line left in reach: is the relation broken (True), whole (False), or unseen (None)?"""


def broken_at(torch: Any, dataset: Any, most: int, looks: Callable[[], Looks]) -> CallSite | None:
    """The line in the making of some items after which a relation was broken for good, or None where none is found.

    What one line breaks and a later one repairs (an image that is flipped before its mask) is no answer.

    Args:
        torch: The script's torch.
        dataset: A data set with an index.
        most: Items to make, each with its own random state; where there are fewer, they come again.
        looks: Makes the question that is asked for one item.
    """

    def look() -> list[Any] | None:
        begun, count = time.process_time(), len(dataset)
        for number in range(min(most, 4 * count)):
            if time.process_time() - begun > ENOUGH_SECONDS:
                break
            seed(torch, number)
            trace = LineTrace(looks())
            item = traced(trace, dataset, number % count)
            if trace.looks(arrays_in({"item": item})) and trace.broken is not None:
                return list(trace.broken)
        return None

    found = in_child(torch, look)
    return CallSite(*found) if found else None


def traced(trace: Any, dataset: Any, index: int) -> Any:
    """An item, made under a trace function."""
    sys.settrace(trace)
    try:
        return dataset[index]
    finally:
        sys.settrace(None)


def in_child(torch: Any, look: Callable[[], list[Any] | None]) -> list[Any] | None:
    """What a function finds in a forked child, as a list of numbers and text; None where it finds nothing.

    None, too, where a fork would leave a trace, or the child fails or takes too long.
    """
    child = Child.started(torch, look)
    return child.answer() if child is not None else None


class Child:
    """A forked child that looks for something while the script goes on; :meth:`answer` waits for what it found."""

    def __init__(self, pid: int, reading: int, offsets: list[tuple[int, int]]) -> None:
        self.pid = pid
        self._reading = reading
        self._offsets = offsets

    @classmethod
    def started(
        cls, torch: Any, look: Callable[[], list[Any] | None], *, apart: bool = False, seconds: int = CPU_SECONDS
    ) -> Child | None:
        """Fork, or None where that would leave a trace.

        Args:
            torch: The script's torch.
            look: What the child does; what it returns is its answer.
            apart: The child has none of the open files: the script goes on with them meanwhile.
            seconds: Processor time after which the child is ended.
        """
        if not may_fork(torch):
            return None
        offsets = [] if apart else _offsets()
        reading, writing = os.pipe()
        pid = os.fork()
        if not pid:
            _in_child(torch, look, writing, apart, seconds)
        os.close(writing)
        return cls(pid, reading, offsets)

    @classmethod
    def following(
        cls, torch: Any, begin: Callable[[Callable[[Callable[[], list[Any]]], None]], None], seconds: int
    ) -> Child | None:
        """Fork a child that goes on with the script, as far as a child may; None where that would leave a trace.

        Args:
            torch: The script's torch.
            begin: Called in the child, with a function that ends it: it is given what the child looks for then.
            seconds: Processor time after which the child is ended.

        Returns:
            The child; None in the child itself, which returns to the script.
        """
        if not may_fork(torch):
            return None
        reading, writing = os.pipe()
        pid = os.fork()
        if pid:
            os.close(writing)
            return cls(pid, reading, [])
        try:
            confine(torch, writing, apart=True, seconds=seconds)
            begin(lambda look: _end(look, writing))
        except BaseException:  # whatever it is, it must not go on as a second run of the script
            os._exit(0)
        return None

    def answer(self, seconds: float = SECONDS) -> list[Any] | None:
        """What the child found; it is ended if it takes longer than this from now on."""
        try:
            text = _answer(self._reading, seconds)
        finally:
            os.close(self._reading)
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
            with suppress(ChildProcessError):
                os.waitpid(self.pid, 0)
            for number, offset in self._offsets:
                with suppress(OSError):
                    os.lseek(number, offset, os.SEEK_SET)
        try:
            found: list[Any] = json.loads(text)
        except ValueError:
            return None
        return found


def _offsets() -> list[tuple[int, int]]:
    """Where every open file stands; a child that reads from one moves it for both."""
    found: list[tuple[int, int]] = []
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            found.append((int(name), os.lseek(int(name), 0, os.SEEK_CUR)))
    return found


def _answer(reading: int, seconds: float) -> str:
    """What the child wrote before it ended; nothing if it takes too long."""
    until, text = time.monotonic() + seconds, b""
    while (left := until - time.monotonic()) > 0:
        ready, _, _ = select.select([reading], [], [], left)
        piece = os.read(reading, 65536) if ready else b""
        if not piece:
            break
        text += piece
    return text.decode(errors="replace")


def _in_child(
    torch: Any, look: Callable[[], list[Any] | None], writing: int, apart: bool = False, seconds: int = CPU_SECONDS
) -> None:
    """Look, and write the answer; never returns."""
    try:
        confine(torch, writing, apart=apart, seconds=seconds)
    except BaseException:
        os._exit(0)
    _end(look, writing)


def _end(look: Callable[[], list[Any] | None], writing: int) -> None:
    """Write the answer and end the process."""
    try:
        found = look()
        if found is not None:
            os.write(writing, json.dumps(found).encode())
    except BaseException:  # whatever it is, it must not go on as a second run of the script
        pass
    finally:
        os._exit(0)


def seed(torch: Any, number: int) -> None:
    """Other random numbers for every item; what has a generator of its own goes on with it."""
    random.seed(number)
    torch.manual_seed(number)
    numpy = sys.modules.get("numpy")
    if numpy is not None:
        numpy.random.seed(number)


class LineTrace:
    """A trace function that asks a question after every line of the user's.

    Attributes:
        broken: The line after which the answer became yes, and has been so since.
    """

    def __init__(self, looks: Looks) -> None:
        self.looks = looks
        self.broken: CallSite | None = None
        self._now = False
        self._lines: dict[int, int] = {}

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        """A function is entered."""
        if not users(frame.f_code.co_filename):
            return None
        self._lines.pop(id(frame), None)
        return self.line

    def line(self, frame: FrameType, event: str, arg: Any) -> Any:
        """A line is about to run, or the function returns: the line before it has ended."""
        if event in ("line", "return"):
            before = self._lines.get(id(frame))
            answer = self.looks(arrays_in(frame.f_locals, arg if event == "return" else None))
            if answer and not self._now and before is not None:  # what was handed in was made by the line that calls
                self.broken = CallSite(frame.f_code.co_filename, before, frame.f_code.co_qualname)
            elif answer is False:
                self.broken = None
            self._now = self._now if answer is None else answer
            self._lines[id(frame)] = frame.f_lineno
        return self.line


def arrays_in(names: dict[str, Any], returned: Any = None) -> dict[str, Any]:
    """Everything among local variables that is an array, as arrays of numpy; one level of containers is opened."""
    found: dict[str, Any] = {}
    for name, value in [*names.items(), ("return", returned)]:
        if name == "self":
            continue
        if type(value) is dict:
            inner: Iterable[tuple[Any, Any]] = list(value.items())[:32]
        elif type(value) in (list, tuple):
            inner = enumerate(value[:32])
        else:
            inner = [("", value)]
        for key, one in inner:
            array = as_array(one)
            if array is not None:
                found[f"{name}[{key}]" if key != "" else name] = array
    return found


def as_array(value: Any) -> Any | None:
    """An array of numpy with the values of an array, a tensor or a picture; None for anything else."""
    numpy = sys.modules.get("numpy")
    if numpy is None:
        return None
    if type(value).__module__.startswith("PIL."):
        value = numpy.asarray(value)
    elif hasattr(value, "detach") and hasattr(value, "numpy") and not isinstance(value, type):
        value = value.detach().numpy() if value.device.type == "cpu" else None
    if not isinstance(value, numpy.ndarray) or not 2 <= value.size <= MOST_VALUES or value.dtype.kind not in "buif":
        return None
    return value
