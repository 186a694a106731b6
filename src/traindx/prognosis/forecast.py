"""What a curve will be at a later step, with an interval that is to hold in four cases of five."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from traindx.errors import InputError
from traindx.prognosis.curve import Array, LearningCurve
from traindx.prognosis.ensemble import Ensemble
from traindx.prognosis.families import Family

LEVEL = 0.8
FARTHEST = 8.0  # times the steps seen; beyond that nothing that was seen bears on it


@dataclass(frozen=True)
class Interval:
    """Lower end, middle and upper end."""

    low: float
    middle: float
    high: float

    def __contains__(self, value: float) -> bool:
        return self.low <= value <= self.high

    @property
    def width(self) -> float:
        """Upper end minus lower end."""
        return self.high - self.low


@dataclass(frozen=True)
class Forecast:
    """A curve at a later step.

    Attributes:
        at: The step.
        seen: The last step that was seen.
        level: The fitted curve there.
        value: What one further point at ``at`` will be, noise included.
        gain: What the fitted curve gains from ``seen`` to ``at``; positive is better.
        noise: Standard deviation of points about the curve.
        points: Points that were fitted.
        families: Weight of each family of laws.
        since: Step since which the curve was fitted, after an abrupt fall; 0 for none.
    """

    at: float
    seen: float
    level: float
    value: Interval
    gain: Interval
    noise: float
    points: int
    families: dict[Family, float]
    since: float = 0.0


def forecast(curve: LearningCurve, at: float, *, level: float = LEVEL, seed: int = 0) -> Forecast:
    """Forecast a curve.

    The learning rate is taken to follow the curve's schedule, and where the schedule ends before ``at``, the same
    schedule stretched to ``at``: a longer run, not the same run continued at its last rate.

    Args:
        curve: What is known.
        at: The later step.
        level: Probability of the intervals.
        seed: Of the bootstrap.

    Raises:
        InputError: There are too few points, or the step is not later, or too far away.
    """
    checked(curve, at)
    return forecast_of(Ensemble.of(curve, seed=seed), at, level)


def checked(curve: LearningCurve, at: float) -> None:
    """Refuse a step that cannot be forecast.

    Raises:
        InputError: It is not later than the last one, or too far away.
    """
    if at <= curve.last:
        raise InputError(f"step {at:g} is not later than the last one, {curve.last:g}", expected="a later step")
    if at > FARTHEST * curve.last:
        raise InputError(
            f"step {at:g} is {at / curve.last:.1f} times as far as the {curve.last:g} steps that were seen",
            expected=f"at most {FARTHEST:g} times",
        )


def forecast_of(ensemble: Ensemble, at: float, level: float = LEVEL) -> Forecast:
    """The same, from an ensemble that is there."""
    curve, sign = ensemble.curve, -1.0 if ensemble.curve.higher_is_better else 1.0
    now = float(ensemble.tail.steps[-1])
    found = ensemble.at([now, at])
    later = sign * ensemble.observed([at])[:, 0]
    return Forecast(
        at=at,
        seen=curve.last,
        level=sign * float(np.median(found[:, 0])),
        value=interval(later, level),
        gain=interval(found[:, 0] - found[:, 1], level),
        noise=ensemble.noise,
        points=len(ensemble.tail),
        families=ensemble.families,
        since=ensemble.tail.since,
    )


def interval(values: Array, level: float = LEVEL) -> Interval:
    """Central interval of some draws."""
    low, middle, high = np.quantile(values, [(1 - level) / 2, 0.5, (1 + level) / 2])
    return Interval(float(low), float(middle), float(high))
