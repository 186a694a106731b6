"""Paired effects with intervals, corrected for the number of questions asked, and the verdict that follows."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from enum import StrEnum
from typing import NamedTuple

from scipy import stats

from traindx.finding import Effect, Verdict

LEVEL = 0.05
# of which this share may be spent on looks before the last one
EARLY_SHARE = 0.2


class Direction(StrEnum):
    """What one context says of a treatment."""

    BETTER = "better"
    WORSE = "worse"
    NOTHING = "nothing"
    OPEN = "open"


class Identity(NamedTuple):
    """What was bit-identical with and without a treatment in one context."""

    weights: bool
    predictions: bool


def look_level(look: int, seeds: int) -> float:
    """Level of significance after ``look`` of ``seeds`` seeds, so that looking early and often does not confirm.

    A first verdict is possible after two seeds. All looks before the last one share a fifth of the level (Bonferroni).
    """
    early = max(0, seeds - 2)
    if look >= seeds:
        return LEVEL * (1 - EARLY_SHARE) if early else LEVEL
    return LEVEL * EARLY_SHARE / max(1, early)


def paired_effect(treated: Sequence[float], untreated: Sequence[float], higher_is_better: bool = True) -> Effect | None:
    """Paired differences, treated minus untreated, signed so that positive is better, with a 95 % t-interval.

    Args:
        treated: Metric by seed.
        untreated: Metric by seed, in the same order.
        higher_is_better: Direction of the metric.

    Returns:
        The effect, or None where there is no pair. Pairs with a value that is not finite are left out. With one pair
        the interval is NaN.
    """
    sign = 1.0 if higher_is_better else -1.0
    pairs = [(a, b) for a, b in zip(treated, untreated, strict=False) if math.isfinite(a) and math.isfinite(b)]
    differences = tuple(sign * (a - b) for a, b in pairs)
    n = len(differences)
    if n == 0:
        return None
    mean = math.fsum(differences) / n
    if n == 1:
        return Effect(mean=mean, low=math.nan, high=math.nan, n=1, differences=differences)
    half = half_width(differences, LEVEL)
    return Effect(mean=mean, low=mean - half, high=mean + half, n=n, differences=differences)


def half_width(differences: Sequence[float], level: float) -> float:
    """Half the width of the t-interval of a mean at confidence ``1 - level``."""
    n = len(differences)
    return float(stats.t.ppf(1 - level / 2, n - 1)) * _standard_error(differences)


def p_value(effect: Effect | None) -> float:
    """Two-sided p-value of the paired t-test against no effect; 1 where there are fewer than two pairs."""
    if effect is None or effect.n < 2:
        return 1.0
    error = _standard_error(effect.differences)
    if error == 0:
        return 1.0 if effect.mean == 0 else 0.0
    return float(2 * stats.t.sf(abs(effect.mean) / error, effect.n - 1))


def _standard_error(differences: Sequence[float]) -> float:
    n = len(differences)
    mean = math.fsum(differences) / n
    return math.sqrt(math.fsum((d - mean) ** 2 for d in differences) / (n - 1) / n)


def sign_report(effect: Effect) -> str:
    """How many of the pairs point which way, for example ``3 of 3 better``.

    The exact sign test cannot go below 2^-n, so with a few seeds this is a report and no test.
    """
    better = sum(d > 0 for d in effect.differences)
    worse = sum(d < 0 for d in effect.differences)
    if better >= worse:
        return f"{better} of {effect.n} better"
    return f"{worse} of {effect.n} worse"


def holm(p_values: Mapping[str, float]) -> dict[str, float]:
    """Holm's step-down adjustment (Holm 1979): p-values that may be compared with the level as if there were one."""
    adjusted: dict[str, float] = {}
    running = 0.0
    ordered = sorted(p_values.items(), key=lambda item: item[1])
    for rank, (name, p) in enumerate(ordered):
        running = max(running, min(1.0, (len(ordered) - rank) * p))
        adjusted[name] = running
    return adjusted


def direction(
    effect: Effect | None, adjusted_p: float, negligible: float, identity: Identity, level: float = LEVEL
) -> Direction:
    """What an effect says, given the adjusted p-value.

    ``nothing`` needs bit-identical predictions, or an interval that lies within the margin of no importance.
    ``better`` and ``worse`` need a corrected p-value below the level and a mean outside that margin. Nothing is said
    from one seed, except by bit-identity.
    """
    if identity.predictions:
        return Direction.NOTHING
    if effect is None or effect.n < 2:
        return Direction.OPEN
    if negligible > 0 and -negligible <= effect.low and effect.high <= negligible:
        return Direction.NOTHING
    if adjusted_p < level and abs(effect.mean) > negligible:
        return Direction.BETTER if effect.mean > 0 else Direction.WORSE
    return Direction.OPEN


def verdict_of(alone: Direction, given_rest: Direction) -> Verdict:
    """The verdict that two directions imply; see :class:`~traindx.finding.Verdict` for the definitions."""
    both = (alone, given_rest)
    if given_rest is Direction.BETTER:
        return Verdict.PROVEN
    if both == (Direction.WORSE, Direction.WORSE):
        return Verdict.HARMFUL
    if both == (Direction.NOTHING, Direction.NOTHING):
        return Verdict.NO_EFFECT
    if alone is Direction.BETTER:
        return Verdict.CONTRIBUTORY
    if Direction.WORSE in both and Direction.NOTHING in both:
        return Verdict.CONTRIBUTORY
    return Verdict.INCONCLUSIVE
