"""The line that makes two values of a label map one: an item is made three times, and its arrays are compared by line.

As it is; with the value written as the one that it is merged with; and with the value written as one that is told from
both. What a line leaves that differs between the first two still has the value; what is the same there and differs in
the third is made of the labels and has it no more. The line that turns the one into the other merges.
"""

from __future__ import annotations

import ast
import sys
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

from traindx.watch.probes.making import arrays_in
from traindx.watch.runtime.call_sites import CallSite, users
from traindx.watch.runtime.source_text import parsed
from traindx.watch.runtime.syntax import walk

PLACES = 4096  # of an array that are looked at
LEAST = 64  # numbers of an array
MOST_EVENTS = 3000  # of one item: loops over what it holds are not followed further
LIBRARIES = ("monai.transforms", "torchio.transforms")
MERGES = (ast.Compare, ast.Call, ast.Subscript, ast.BinOp)


@dataclass(frozen=True)
class _Event:
    """After a line, or the return of a library's transform: digests of what is in reach."""

    frame: int
    depth: int
    file: str
    line: int  # that has run
    name: str  # of the function, or of the class of the transform
    begun: int  # number of the event at which the line began
    arrays: dict[str, int]
    before: dict[str, int]


class _Trace:
    """A trace function that notes digests."""

    def __init__(self) -> None:
        self.events: list[_Event] = []
        self._frames: dict[int, tuple[int, int, dict[str, int]]] = {}  # line that runs, event at its start, arrays
        self._depth: dict[int, int] = {}

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        """A function is entered."""
        if len(self.events) >= MOST_EVENTS:
            return None
        if not users(frame.f_code.co_filename):
            owner = frame.f_locals.get("self") if frame.f_code.co_name == "__call__" else None
            if owner is None or not type(owner).__module__.startswith(LIBRARIES):
                return None
            frame.f_trace_lines = False
        self._frames[id(frame)] = (frame.f_lineno, len(self.events), _digests(frame.f_locals))
        self._depth[id(frame)] = _depth(frame)
        return self.line

    def line(self, frame: FrameType, event: str, arg: Any) -> Any:
        """A line is about to run, or the function returns."""
        if len(self.events) >= MOST_EVENTS:
            return None
        if event in ("line", "return") and id(frame) in self._frames:
            ran, begun, before = self._frames[id(frame)]
            arrays = _digests(frame.f_locals, arg if event == "return" else None)
            own = users(frame.f_code.co_filename)
            self.events.append(
                _Event(
                    frame=id(frame),
                    depth=self._depth[id(frame)],
                    file=frame.f_code.co_filename if own else "",
                    line=ran,
                    name=frame.f_code.co_qualname if own else type(frame.f_locals.get("self")).__name__,
                    begun=begun,
                    arrays=arrays,
                    before=before,
                )
            )
            self._frames[id(frame)] = (frame.f_lineno, len(self.events), arrays)
        return self.line


def _depth(frame: FrameType | None) -> int:
    count = 0
    while frame is not None:
        count, frame = count + 1, frame.f_back
    return count


def _digests(names: dict[str, Any], returned: Any = None) -> dict[str, int]:
    return {name: _digest(array) for name, array in arrays_in(names, returned).items() if array.size >= LEAST}


def _digest(array: Any) -> int:
    step = max(1, array.size // PLACES)
    while step > 1 and any(size % step == 0 for size in array.shape):  # not the same column again and again
        step += 1
    some = array.reshape(-1)[::step] if array.flags.c_contiguous else array.flat[::step]
    return zlib.crc32(some.tobytes(), array.ndim)


def merging_line(make: Callable[[], Any], written: Callable[[float | None], Any], into: float, other: float) -> Any:
    """A line of the user's, the name of a library's transform, or None.

    Args:
        make: Makes the item, always with the same random numbers.
        written: Gives a block inside of which the value is read as another one; with None, as it is.
        into: The value that it is merged with.
        other: One that is told from both.
    """
    runs = []
    for value in (None, into, other):
        trace = _Trace()
        with written(value):
            sys.settrace(trace)
            try:
                make()
            finally:
                sys.settrace(None)
        runs.append(trace.events)
    return _merging(*runs)


def _merging(plain: list[_Event], same: list[_Event], other: list[_Event]) -> CallSite | str | None:
    found: list[tuple[int, _Event, str]] = []
    for number, (one, two, three) in enumerate(zip(plain, same, other, strict=False)):
        if not (one.file, one.line, one.name) == (two.file, two.line, two.name) == (three.file, three.line, three.name):
            break
        new = {name for name in one.arrays if one.arrays[name] != one.before.get(name)}
        new |= {name for name in three.arrays if three.arrays[name] != three.before.get(name)}
        new &= one.arrays.keys() & two.arrays.keys() & three.arrays.keys()
        merged = {name for name in new if _state(name, one.arrays, two.arrays, three.arrays) == "merged"}
        if not merged:
            continue
        states = {name: _state(name, one.before, two.before, three.before) for name in one.before}
        read = _names_read(one.file, one.line) if one.file else None
        given = {state for name, state in states.items() if read is None or name.split("[")[0] in read}
        inner = any(at >= one.begun and deeper.depth > one.depth for at, deeper, _ in found)
        if not inner and (read is not None or "apart" in given) and ("merged" not in given or "apart" in given):
            if "merged" in given and not _turned(merged, states):
                continue
            found.append((number, one, min(merged)))
    if not found:
        return None
    last = found[-1][1]
    return CallSite(last.file, _line_in(last), last.name) if last.file else last.name


def _turned(merged: set[str], states: dict[str, str]) -> bool:
    """An array in a container that was apart is merged now."""
    return any(states.get(name) == "apart" for name in merged)


def _state(name: str, one: dict[str, int], two: dict[str, int], three: dict[str, int]) -> str:
    if name not in two or one[name] != two[name]:
        return "apart"
    return "merged" if name in three and one[name] != three[name] else "other"


def _statement(file: str, line: int) -> ast.stmt | None:
    """The smallest statement at a line; of one with a body, its head only."""
    tree = parsed(file)
    around = [
        node
        for node in (walk(tree) if tree is not None else ())
        if isinstance(node, ast.stmt) and node.lineno <= line <= (node.end_lineno or node.lineno)
    ]
    return max(around, key=lambda node: (node.lineno, -(node.end_lineno or 0)), default=None)


def _names_read(file: str, line: int) -> set[str]:
    statement = _statement(file, line)
    nodes = walk(statement) if statement is not None else ()
    augmented = {
        one.target.id
        for one in ([statement] if isinstance(statement, ast.AugAssign) else [])
        if isinstance(one.target, ast.Name)
    }
    return augmented | {one.id for one in nodes if isinstance(one, ast.Name) and isinstance(one.ctx, ast.Load)}


def _line_in(event: _Event) -> int:
    """Of a statement of several lines, the one with the comparison."""
    statement = _statement(event.file, event.line)
    if statement is None or statement.lineno == statement.end_lineno or hasattr(statement, "body"):
        return event.line
    lines = [one.lineno for one in walk(statement) if isinstance(one, ast.Compare)]
    return lines[0] if len(set(lines)) == 1 else event.line
