"""The author's own training, as far as it is planned or done: what a trial's short training says nothing about."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass


@dataclass(frozen=True)
class FullRun:
    """How long the author trains, and what came of it.

    ``Case.steps`` is how long a *trial* trains, and that a trial ends too early says nothing. Where ``steps`` is the
    same number, the trial's training is the author's own. Else a finished one is needed: its ``history``.

    Attributes:
        steps: Optimiser steps of the whole training, as the author plans it.
        history: ``() -> (step, figure)`` pairs of the case's first metric, over the author's own training so far.
        rates: ``() -> learning rate`` of each of its steps, where it was not constant.
    """

    steps: int
    history: Callable[[], Iterable[tuple[float, float]]] | None = None
    rates: Callable[[], Iterable[float]] | None = None
