"""Call a function so that the call seems to come from where it came from without us.

A warning is attributed to a frame of the caller's: file, line, and the registry of its module. A call that passes
through code of ours is therefore made from a frame that looks like the caller's: a two-word function whose code object
bears the caller's file, line and name, and whose globals are the caller's.
"""

from __future__ import annotations

import dis
import functools
import os
import sys
from collections.abc import Callable
from types import CodeType, FrameType, FunctionType, TracebackType
from typing import Any

_OURS = os.path.dirname(os.path.dirname(os.path.abspath(__file__))) + os.sep
_MOST = 8192
_made: dict[tuple[CodeType, int], FunctionType] = {}
_codes: dict[CodeType, CodeType] = {}  # of the frames that we make, with the code of the caller that they look like


# on one line, so that its first line is its only one
_TEMPLATE: dict[str, Any] = {}
exec("def call(function, args, kwargs): return function(*args, **kwargs)", _TEMPLATE)
_CALL: CodeType = _TEMPLATE["call"].__code__


def caller_of_ours(depth: int = 1) -> FrameType:
    """The innermost frame above that is not one of ours."""
    frame = sys._getframe(depth)
    while frame.f_code.co_filename.startswith(_OURS) and frame.f_back is not None:
        frame = frame.f_back
    return frame


def call_from(frame: FrameType, function: Callable[..., Any], args: Any, kwargs: Any) -> Any:
    """Call a function as if from the line that a frame is at."""
    if sys.getprofile() is not None or sys.gettrace() is not None:  # who counts frames is not given more of them
        return function(*args, **kwargs)
    code = frame.f_code
    key = (code, frame.f_lasti)
    made = _made.get(key)
    if made is None or made.__globals__ is not frame.f_globals:
        like = _CALL.replace(
            co_filename=code.co_filename,
            co_firstlineno=frame.f_lineno,
            co_name=code.co_name,
            co_qualname=code.co_qualname,
        )
        made = FunctionType(like, frame.f_globals)
        if len(_made) < _MOST:
            _made[key] = made
            _codes[like] = code
    return made(function, args, kwargs)


def passing(function: Callable[..., Any]) -> Callable[..., Any]:
    """A function that a wrapper of ours calls in its caller's name."""

    @functools.wraps(function)
    def passed(*args: Any, **kwargs: Any) -> Any:
        return call_from(caller_of_ours(2), function, args, kwargs)

    return passed


def extra_levels(frame: FrameType | None, level: int) -> int:
    """How many frames more a ``stacklevel`` that was meant for a stack without us must go up.

    Args:
        frame: The frame that warns, one below a wrapper of ours, which counts too.
        level: The level that was asked for.
    """
    more, left = 1, max(1, level) - 1
    while frame is not None and left:
        frame = frame.f_back
        while frame is not None and frame.f_code.co_filename.startswith(_OURS):
            more, frame = more + 1, frame.f_back
        left -= 1
        looks_like = _codes.get(frame.f_code) if frame is not None and left else None
        if looks_like is not None and frame is not None:  # go on from the caller itself
            frame, more = frame.f_back, more + 1
            while frame is not None and frame.f_code is not looks_like:
                frame, more = frame.f_back, more + 1
    return more


def without_ours(trace: TracebackType | None) -> TracebackType | None:
    """A traceback as it would be without us."""
    entries: list[TracebackType] = []
    while trace is not None:
        code = trace.tb_frame.f_code
        if code in _codes:
            while entries and entries[-1].tb_frame.f_code is not _codes[code]:
                entries.pop()
        elif not code.co_filename.startswith(_OURS):
            entries.append(trace)
        trace = trace.tb_next
    found = None
    for entry in reversed(entries):
        found = TracebackType(found, entry.tb_frame, entry.tb_lasti, entry.tb_lineno)
    return found


def without_hooks(error: BaseException, call: FrameType) -> None:
    """Make an exception pass through a call of a module as it does where no hook is in place.

    With hooks torch calls ``forward`` from a function within its function, which a traceback shows. Called from a hook
    while torch handles the exception, so that it goes on with the traceback that it is given here.

    Args:
        error: The exception.
        call: The frame in which torch handles it.
    """
    trace = error.__traceback__
    inner = trace.tb_next if trace is not None and trace.tb_frame is call else None
    if inner is None or inner.tb_frame.f_code not in call.f_code.co_consts:
        return
    place = _call_without_hooks(call.f_code)
    if place is not None:
        error.__traceback__ = TracebackType(inner.tb_next, call, *place)


@functools.cache
def _call_without_hooks(code: CodeType) -> tuple[int, int] | None:
    """Instruction and line at which torch calls ``forward`` where there are no hooks: the first call of its kind."""
    line = code.co_firstlineno
    for instruction in dis.get_instructions(code):
        line = instruction.positions.lineno or line if instruction.positions is not None else line
        if instruction.opname.startswith("CALL_FUNCTION_EX"):
            return instruction.offset, line
    return None


def clean(error: BaseException, seen: set[int] | None = None) -> None:
    """Take our frames out of the tracebacks of an exception and of whatever led to it."""
    seen = set() if seen is None else seen
    if id(error) in seen:
        return
    seen.add(id(error))
    error.__traceback__ = without_ours(error.__traceback__)
    inner = error.exceptions if isinstance(error, BaseExceptionGroup) else ()
    for other in (error.__cause__, error.__context__, *inner):
        if other is not None:
            clean(other, seen)
