"""A child that goes on with the script for a while, so that what comes after an evaluation is called with all of it.

The functions that make a figure are often called once the last batch is through, with what a loop has gathered. No
expression can be evaluated for that: so a child returns to the script where it was forked, records the calls of the
user's functions with copies of their arguments, and ends where training would go on. It may write to no file, prints
nothing, and has none of the files that the script has open.
"""

from __future__ import annotations

import atexit
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType
from typing import Any

from traindx.watch.probes.recorded import RecordedCall, Recorder
from traindx.watch.runtime.call_sites import users

SECONDS = 3.0  # of processor time that it goes on
End = Callable[[Callable[[], list[Any]]], None]


@dataclass
class Following(Recorder):
    """Records what the script calls by itself, and ends the process when the time is over.

    Attributes:
        finish: Ends the process; None before it is known how.
    """

    finish: Callable[[], None] | None = None

    def __call__(self, frame: FrameType, event: str, arg: Any) -> Any:
        """A function is entered."""
        if self.finish is not None and time.process_time() > self.until:
            self.finish()
        return super().__call__(frame, event, arg)


def go_on(
    torch: Any,
    end: End,
    look: Callable[[list[RecordedCall]], list[Any]],
    left: Callable[[FrameType], None] | None = None,
) -> None:
    """In a child: record from now on, and end it where training goes on, the script ends, or the time is over.

    Args:
        torch: The script's torch.
        end: Ends the process with an answer.
        look: Gives the answer for what was recorded.
        left: Given the frame of every function of the user's as it returns, also of those that run already.
    """
    recorder = Following(torch, until=time.process_time() + SECONDS, left=left)

    def returns(frame: FrameType, event: str, arg: Any) -> Any:
        if event == "return" and left is not None:
            left(frame)
        return returns

    frame: FrameType | None = sys._getframe(1)
    while frame is not None and left is not None:
        if users(frame.f_code.co_filename):
            frame.f_trace, frame.f_trace_lines = returns, False
        frame = frame.f_back

    def answer() -> list[Any]:
        sys.settrace(None)
        torch.set_grad_enabled(True)
        return look(recorder.done())

    def finish(*_: Any, **__: Any) -> None:
        end(answer)

    recorder.finish = finish
    atexit.register(finish)
    torch.Tensor.backward = torch.autograd.backward = finish
    sys.settrace(recorder)
