"""Paired effects with intervals, corrected for the number of questions asked, and the verdict that follows."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from enum import StrEnum
from functools import lru_cache
from itertools import pairwise
from statistics import stdev
from typing import NamedTuple

from scipy import stats

from traindx.finding import Effect, Verdict

LEVEL = 0.05
# Readings of an error that spread over this factor are compared by their ratios
RATIO_SPREAD = 10.0
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


def look_level(look: int, seeds: int, asked: int = 0) -> float:
    """Level of significance after ``look`` of ``seeds`` seeds, so that looking early and often does not confirm.

    A first verdict is possible after two seeds. All looks before the last one share a fifth of the level (Bonferroni).
    Where seeds are added while time is left, their number is not known when one first looks, so what a look may spend
    follows from its number alone (:func:`added_share`), and the last one has what no look before it spent. Whether
    there is time for one more seed is decided without looking at what the runs gave, so which look is the last one
    tells nothing of them.

    Args:
        look: Seeds that were run.
        seeds: Seeds in all, as far as that is known.
        asked: Seeds that were asked for; 0 where none are added.

    Returns:
        The level; 0 where one does not look.
    """
    if asked:
        if look < seeds:
            return LEVEL * added_share(look, asked)
        return LEVEL * (1 - math.fsum(added_share(count, asked) for count in range(2, seeds)))
    early = max(0, seeds - 2)
    if look >= seeds:
        return LEVEL * (1 - EARLY_SHARE) if early else LEVEL
    return LEVEL * EARLY_SHARE / max(1, early)


def added_share(look: int, asked: int) -> float:
    """The share of the level that a look may spend where it is not the last one and seeds may be added.

    One looks after two seeds, after those that were asked for, and again whenever there are half as many more: a
    fiftieth, a fifth, a fifteenth, and of every further one half of the one before, 36 % in all.
    """
    if look == asked:
        return 0.2
    count, share = asked, 2 / 15
    while (count := math.ceil(1.5 * count)) <= look:
        share /= 2
        if count == look:
            return share
    return 0.02 if look == 2 else 0.0


def paired_effect(treated: Sequence[float], untreated: Sequence[float], higher_is_better: bool = True) -> Effect | None:
    """Paired differences, treated minus untreated, signed so that positive is better, with a 95 % t-interval.

    Differences that are all equal say that the figure is coarse, not that it is certain: it moves in steps, and each
    difference is known to half a step. Their spread is then that of a uniform error of one step (step / sqrt 12), where
    the step is the smallest distance between two readings that differ.

    Errors (lower is better, all above zero) that spread over a factor of ten in all pairs together are compared by
    their ratios: the t-interval is one of the mean of log(untreated / treated), since differences of such errors are
    those of the largest pair alone. Whether it is so is asked without regard to which run was treated.

    Args:
        treated: Metric by seed.
        untreated: Metric by seed, in the same order.
        higher_is_better: Direction of the metric.

    Returns:
        The effect, or None where there is no pair. Pairs with a value that is not finite are left out. With one pair,
        or where every reading is the same, the interval is NaN.
    """
    sign = 1.0 if higher_is_better else -1.0
    pairs = [(a, b) for a, b in zip(treated, untreated, strict=False) if math.isfinite(a) and math.isfinite(b)]
    differences = tuple(sign * (a - b) for a, b in pairs)
    n = len(differences)
    if n == 0:
        return None
    mean = math.fsum(differences) / n
    found = Effect(mean=mean, low=math.nan, high=math.nan, n=n, differences=differences)
    if n == 1:
        return found
    readings = [value for pair in pairs for value in pair]
    if not higher_is_better and min(readings) > 0 and max(readings) >= RATIO_SPREAD * min(readings):
        return _by_ratio(found, pairs)
    alike = max(differences) - min(differences) <= _ROUNDING * max(map(abs, readings))
    if not alike:
        half = _quantile(1 - LEVEL, n) * stdev(differences) / math.sqrt(n)
        if mean - half < mean + half:  # else the spread is too small for a float
            return found.model_copy(update={"low": mean - half, "high": mean + half})
    step = _step(readings)
    if step is None:
        return found
    half = _quantile(1 - LEVEL, n) * step / math.sqrt(12 * n)
    return found.model_copy(update={"low": mean - half, "high": mean + half})


def _by_ratio(found: Effect, pairs: Sequence[tuple[float, float]]) -> Effect:
    """An effect of errors, from the mean of the logarithms of their ratios."""
    logs = tuple(math.log(untreated / treated) for treated, untreated in pairs)
    at = math.exp(math.fsum(math.log(untreated) for _, untreated in pairs) / len(pairs))
    mean = math.fsum(logs) / len(logs)
    found = found.model_copy(update={"by_ratio_at": at, "log_ratios": logs, "mean": _gain(mean, at)})
    if max(logs) - min(logs) <= _ROUNDING * max(map(abs, logs)):  # the same ratio in every pair
        return found
    half = _quantile(1 - LEVEL, len(logs)) * stdev(logs) / math.sqrt(len(logs))
    return found.model_copy(update={"low": _gain(mean - half, at), "high": _gain(mean + half, at)})


def told_by_ratio(name: str, effects: Iterable[Effect | None]) -> str:
    """That some effects are those of ratios; empty where none is."""
    if not any(effect is not None and effect.log_ratios for effect in effects):
        return ""
    return (
        f"readings of {name} spread over a factor of ten and more, so pairs are compared by their ratios: an effect is "
        "what the mean ratio takes off from a typical untreated reading"
    )


def _gain(log_ratio: float, at: float) -> float:
    """What a ratio of errors takes off from one of them; errors do not grow beyond what a float holds."""
    return at * -math.expm1(min(-log_ratio, _LARGEST_LOG - math.log(at)))


_LARGEST_LOG = 690.0


def _mean_and_error(effect: Effect) -> tuple[float, float]:
    """Mean and its standard error on the scale on which the interval is symmetric."""
    if not effect.log_ratios:
        return effect.mean, (effect.high - effect.low) / 2 / _quantile(effect.confidence, effect.n)
    logs = effect.log_ratios
    return math.fsum(logs) / len(logs), stdev(logs) / math.sqrt(len(logs))


_ROUNDING = 1e-9  # relative difference below which two readings are the same


def _step(readings: Sequence[float]) -> float | None:
    """The smallest distance between two readings that differ; None where none do."""
    ordered = sorted(readings)
    least = _ROUNDING * max(map(abs, ordered))
    gaps = [b - a for a, b in pairwise(ordered) if b - a > least]
    return min(gaps, default=None)


@lru_cache(maxsize=1024)
def _quantile(confidence: float, n: int) -> float:
    """Of Student's distribution: half the width of an interval over its standard error."""
    return float(stats.t.ppf((1 + confidence) / 2, n - 1))


def p_value(effect: Effect | None) -> float:
    """Two-sided p-value of the paired t-test against no effect; 1 where nothing is known of the spread."""
    if effect is None or effect.n < 2 or not math.isfinite(effect.low):
        return 1.0
    mean, error = _mean_and_error(effect)
    return float(2 * stats.t.sf(abs(mean) / error, effect.n - 1)) if error > 0 else 1.0


def at_confidence(effect: Effect, confidence: float) -> Effect:
    """The same effect with an interval of another confidence."""
    if effect.n < 2 or not math.isfinite(effect.low):
        return effect
    mean, error = _mean_and_error(effect)
    half = _quantile(confidence, effect.n) * error
    low, high = mean - half, mean + half
    if effect.log_ratios:
        low, high = _gain(low, effect.by_ratio_at), _gain(high, effect.by_ratio_at)
    return effect.model_copy(update={"low": low, "high": high, "confidence": confidence})


def consistent(effect: Effect | None, adjusted_p: float, level: float = LEVEL) -> Effect | None:
    """An effect whose interval says what its adjusted p-value says.

    An interval of 95 % may leave zero out although the p-value, adjusted for everything that was asked and compared
    with the level of this look, is not small enough. The interval is then that of the very test that was made: it holds
    zero if and only if the test says so.
    """
    if effect is None or effect.n < 2 or not (effect.low > 0 or effect.high < 0) or adjusted_p < level:
        return effect
    p = p_value(effect)
    return at_confidence(effect, 1 - level * p / adjusted_p) if p > 0 else effect


def seeds_needed(effect: Effect, most: int = 50) -> int | None:
    """How many seeds would give an interval without zero, if mean and spread stay what they are; None for too many."""
    if effect.n < 2 or not math.isfinite(effect.low) or effect.mean == 0:
        return None
    mean, error = _mean_and_error(effect)
    spread = error * math.sqrt(effect.n)
    counts = range(effect.n + 1, most + 1)
    return next((n for n in counts if _quantile(1 - LEVEL, n) * spread / math.sqrt(n) < abs(mean)), None)


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
