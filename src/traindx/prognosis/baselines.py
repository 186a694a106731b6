"""What a forecast has to beat: the last value, and a plain power law without plateau."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np

from traindx.prognosis.curve import LearningCurve, tail_of
from traindx.prognosis.forecast import LEVEL, Interval


def last_value(curve: LearningCurve, level: float = LEVEL) -> Interval:
    """Nothing changes any more: the last smoothed value, with the scatter of the last points."""
    tail = tail_of(curve)
    sign = -1.0 if curve.higher_is_better else 1.0
    values = sign * tail.back(tail.values)
    recent = values[-max(3, len(tail) // 4) :]
    middle = float(values[-1])
    # differences of neighbours carry twice the variance of the noise, whatever the trend
    noise = float(np.sqrt(np.square(np.diff(recent)).mean() / 2)) if len(recent) > 1 else 0.0
    return _normal(middle, noise * np.sqrt(2.0), level)


def plain_power_law(curve: LearningCurve, at: float, level: float = LEVEL) -> Interval:
    """A straight line through the logarithms of values and steps, with its textbook prediction interval.

    Of a figure that is better when higher, the logarithm of the figure itself is taken; it must be positive.
    """
    tail = tail_of(curve)
    sign = -1.0 if curve.higher_is_better else 1.0
    values = sign * tail.back(tail.values)
    if np.any(values <= 0) or len(tail) < 3:
        return last_value(curve, level)
    x, y = np.log(tail.steps), np.log(values)
    slope, offset = np.polyfit(x, y, 1)
    free = max(1, len(x) - 2)
    noise = float(np.sqrt(np.square(y - offset - slope * x).sum() / free))
    lever = 1 + 1 / len(x) + (np.log(at) - x.mean()) ** 2 / max(1e-12, np.square(x - x.mean()).sum())
    middle = offset + slope * np.log(at)
    half = _quantile(level) * noise * np.sqrt(lever)
    return Interval(float(np.exp(middle - half)), float(np.exp(middle)), float(np.exp(middle + half)))


def _normal(middle: float, deviation: float, level: float) -> Interval:
    half = _quantile(level) * deviation
    return Interval(float(middle - half), float(middle), float(middle + half))


def _quantile(level: float) -> float:
    """Half the width of an interval of a standard normal distribution; the standard library knows it."""
    return NormalDist().inv_cdf(0.5 + level / 2)
