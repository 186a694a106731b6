"""Evidence about what a longer training would reach."""

from __future__ import annotations

from traindx.evidence.base import Record


class RunForecast(Record):
    """The forecast of a figure beyond the last step of a training, by :mod:`traindx.prognosis`.

    Attributes:
        figure: Its name.
        unit: Its unit.
        validated: True for the metric on validation data; False for a training loss.
        planned: Optimiser steps that the author planned; where a script ended by itself, those that it made.
        seen: Last step that was seen.
        at: The step that is forecast, with the schedule of the learning rate stretched to it.
        level: The fitted figure at ``seen``.
        gain: What is gained from ``seen`` to ``at``, positive is better: lower end, middle and upper end of the 80 %
            interval.
        learned: What was gained from the first points to ``seen``; positive is better.
        learned_high: What may have been learned, where single values scatter: the upper end of the one-sided 95 %
            interval of the mean of the first fifth over ``level``; None where it was not asked for.
        stop: Interval of the step from which on doubling the steps gains less than ``negligible``; infinite where that
            lies beyond what can be foreseen.
        negligible: The difference of no importance, as the case or the kind of figure has it.
        higher_is_better: Direction.
        points: Points that were fitted.
        repeatable: True if a trial trains as long as this run, so that a longer run can be tried.
    """

    figure: str
    unit: str = ""
    validated: bool
    planned: int
    seen: float
    at: float
    level: float
    gain: tuple[float, float, float]
    learned: float
    learned_high: float | None = None
    stop: tuple[float, float, float]
    negligible: float
    higher_is_better: bool
    points: int
    repeatable: bool = False
