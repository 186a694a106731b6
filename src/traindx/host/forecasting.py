"""The forecast of a watched script's loss, where the script ran to its own end."""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence

from traindx.errors import InputError
from traindx.evidence import Evidence
from traindx.evidence.forecast import RunForecast
from traindx.evidence.observed import Ending, IterationsSeen, LossSeries, ScriptRun
from traindx.prognosis import LearningCurve, prognosis

ONE_SIDED = 1.645  # standard errors, of a normal distribution's 95 %


def highest_gain(values: Sequence[float], level: float) -> float:
    """How much a loss may have fallen to a level since the first fifth of its values, however much these scatter."""
    first = values[: max(3, len(values) // 5)]
    error = float(statistics.stdev(first)) / math.sqrt(len(first))
    return float(statistics.fmean(first)) + ONE_SIDED * error - level


def loss_forecast(evidence: Evidence) -> RunForecast | None:
    """What twice the iterations would gain a script with one optimiser and one loss; None where nothing can be told.

    A run that was ended from outside has no end of its own, and the losses of several optimisers need not fall.
    """
    run, seen, series = evidence.last(ScriptRun), evidence.last(IterationsSeen), evidence.of(LossSeries)
    if run is None or run.ending is not Ending.FINISHED or run.window_ended or seen is None or seen.optimizers != 1:
        return None
    by_line = {str(one.where): one for one in series}
    if len(by_line) != 1:
        return None
    (loss,) = by_line.values()
    if loss.first_nonfinite >= 0:
        return None
    points: dict[float, float] = {}
    for iteration, value in zip(loss.iterations, loss.values, strict=True):
        points[iteration + 1.0] = value  # of several passes in one iteration, the last
    ordered = sorted(points)
    try:
        curve = LearningCurve(tuple(ordered), tuple(points[step] for step in ordered))
        found = prognosis(curve)
    except InputError:
        return None
    gain, stop = found.forecast.gain, found.stop
    return RunForecast(
        where=loss.where,
        figure="the training loss",
        validated=False,
        planned=seen.iterations,
        seen=curve.last,
        at=found.forecast.at,
        level=found.forecast.level,
        gain=(gain.low, gain.middle, gain.high),
        learned=found.learned,
        learned_high=highest_gain([points[step] for step in ordered], found.forecast.level),
        stop=(stop.low, stop.middle, stop.high),
        negligible=found.worth,
        higher_is_better=False,
        points=found.forecast.points,
    )
