"""What long work says of itself while it runs; the command line draws it, a library user may ignore it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """One step of progress.

    Attributes:
        stage: ``checks``, ``training``, ``trials`` or a command's own.
        message: What is being done now, in a few words.
        done: Units done so far in this stage.
        total: Units in all, or 0 where it is not known.
        seconds_left: Estimate of the time left in this stage, or None.
    """

    stage: str
    message: str
    done: float = 0.0
    total: float = 0.0
    seconds_left: float | None = None


Listener = Callable[[Progress], None]


def silent(_: Progress) -> None:
    """The listener that does nothing."""
