"""A deadline that everything in a trial shares, and a way to call everything off."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass, field


class OutOfTime(Exception):  # noqa: N818  (not an error: the budget is a limit that the user set)
    """The deadline passed, or the trial was called off, in the middle of a training or a scoring."""


@dataclass
class Deadline:
    """A moment after which no work is begun, and work in hand is dropped.

    Attributes:
        at: Seconds since the epoch, so that worker processes share it; infinity for none.
        cancelled: Set to call everything off at once.
    """

    at: float = float("inf")
    cancelled: threading.Event = field(default_factory=threading.Event)

    @classmethod
    def after(cls, seconds: float) -> Deadline:
        """A deadline some seconds from now."""
        return cls(time.time() + seconds)

    @property
    def left(self) -> float:
        """Seconds left; 0 where it has passed."""
        return 0.0 if self.cancelled.is_set() else max(0.0, self.at - time.time())

    def check(self) -> None:
        """Raise where it has passed.

        Raises:
            OutOfTime: It has, or the work was called off.
        """
        if self.left <= 0:
            raise OutOfTime
