"""A learning curve, the learning-rate schedule behind it, and the smoothed part of it that a forecast rests on."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from traindx.errors import InputError

Array = NDArray[np.float64]

MIN_POINTS = 5  # points: three parameters and two degrees of freedom
MOST = 40  # points that are fitted; a longer series is put into as many bins, whose medians are taken
BURN_IN = 0.1  # of what was spent so far; the first steps follow no law that later ones do
WARM = 0.99  # share of the peak rate from which the warm-up is over
DECAYED = 0.5  # the rate fell to less than this share between two points: from there on it is another curve


@dataclass(frozen=True)
class Schedule:
    """Learning rate by step, as a share of its peak; constant where nothing is given.

    A run that goes on after the last step of its schedule is taken to be another run, with the same schedule stretched:
    a cosine that has ended flattens the curve whatever is left to learn, and more steps at its last rate learn nothing.

    Attributes:
        rates: Share of the peak rate at every step from 1 on; empty for a constant rate.
    """

    rates: tuple[float, ...] = ()
    _sums: Array = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_sums", np.concatenate([[0.0], np.cumsum(self.rates)]))

    @classmethod
    def cosine(cls, steps: int, *, warm_up: int = 0, last: float = 0.0) -> Schedule:
        """A linear warm-up, then half a cosine down to ``last`` of the peak (Loshchilov and Hutter 2017, eq. 5)."""
        rates = [(step + 1) / warm_up for step in range(min(warm_up, steps))]
        rest = max(1, steps - warm_up)
        rates += [
            last + (1 - last) * 0.5 * (1 + math.cos(math.pi * step / rest)) for step in range(max(0, steps - warm_up))
        ]
        return cls(tuple(rates))

    @classmethod
    def recorded(cls, rates: Sequence[float]) -> Schedule:
        """From the learning rates of a run, one a step."""
        peak = max(rates, default=0.0)
        return cls(tuple(rate / peak for rate in rates)) if peak > 0 else cls()

    @property
    def constant(self) -> bool:
        """True if the rate never changes."""
        return not self.rates or max(self.rates) - min(self.rates) < 1e-9

    def spent(self, steps: Array) -> Array:
        """Sum of the rates up to each step, in steps at the peak rate."""
        steps = np.asarray(steps, dtype=float)
        if not self.rates:
            return steps
        end = len(self.rates)
        within = np.interp(np.minimum(steps, end), np.arange(end + 1), self._sums)
        return np.where(steps > end, self._sums[-1] * steps / end, within)

    def share(self, steps: Array) -> Array:
        """Share of the peak rate at each step; after the end it is that of the last step."""
        steps = np.asarray(steps, dtype=float)
        if not self.rates:
            return np.ones_like(steps)
        return np.interp(steps, np.arange(1, len(self.rates) + 1), self.rates)


@dataclass(frozen=True)
class LearningCurve:
    """A figure by step.

    Attributes:
        steps: Optimiser steps, increasing, not necessarily regular.
        values: The figure there.
        higher_is_better: Its direction.
        name: Its name.
        unit: Its unit.
        schedule: The learning rate behind it.

    Raises:
        InputError: The lengths differ, or the steps do not increase.
    """

    steps: tuple[float, ...]
    values: tuple[float, ...]
    higher_is_better: bool = False
    name: str = "loss"
    unit: str = ""
    schedule: Schedule = field(default_factory=Schedule)

    def __post_init__(self) -> None:
        if len(self.steps) != len(self.values):
            raise InputError(f"{self.name} has {len(self.values)} values at {len(self.steps)} steps")
        if any(later <= earlier for earlier, later in zip(self.steps, self.steps[1:], strict=False)):
            raise InputError(f"the steps of {self.name} do not increase", expected="each step once, in order")

    @property
    def last(self) -> float:
        """The last step."""
        return self.steps[-1] if self.steps else 0.0

    def until(self, step: float) -> LearningCurve:
        """The part of it that was known at a step."""
        known = [(at, value) for at, value in zip(self.steps, self.values, strict=True) if at <= step]
        return LearningCurve(
            tuple(at for at, _ in known),
            tuple(value for _, value in known),
            self.higher_is_better,
            self.name,
            self.unit,
            self.schedule,
        )


@dataclass(frozen=True)
class Tail:
    """The part of a curve that is fitted, with lower values better.

    Figures that are positive and better when lower (losses, errors) come as logarithms: their noise is in proportion to
    them more often than not. A PSNR is a logarithm already.

    Attributes:
        steps: Steps.
        spent: What the learning rate had spent by then, in steps at its peak.
        share: Share of the peak rate.
        values: Values; the sign is changed where higher is better, and logarithms are taken where ``logged``.
        logged: Whether they are logarithms.
        since: Step of the abrupt fall of the rate (or of the curve) that earlier points were left out for; 0 for none.
    """

    steps: Array
    spent: Array
    share: Array
    values: Array
    logged: bool = False
    since: float = 0.0

    def __len__(self) -> int:
        return len(self.steps)

    def back(self, values: Array) -> Array:
        """Fitted values in the figure's units, lower still better."""
        return np.exp(values) if self.logged else values


def tail_of(curve: LearningCurve) -> Tail:
    """The robustly smoothed tail: without warm-up and first steps, after any abrupt decay, in bins of medians."""
    sign = -1.0 if curve.higher_is_better else 1.0
    steps, values = np.asarray(curve.steps, dtype=float), sign * np.asarray(curve.values, dtype=float)
    known = np.isfinite(values)
    steps, values = steps[known], values[known]
    logged = not curve.higher_is_better and bool(np.all(values > 0))
    values = np.log(values) if logged else values
    share = curve.schedule.share(steps)
    if len(steps):
        warm = int(np.argmax(share >= WARM * share.max()))
        late = curve.schedule.spent(steps) >= BURN_IN * curve.schedule.spent(steps[-1:])[0]
        late[:warm] = False
        if late.sum() >= MIN_POINTS + 1:
            steps, values, share = steps[late], values[late], share[late]
    since = 0.0
    falls = np.flatnonzero(share[1:] < DECAYED * share[:-1]) if not _smooth(curve.schedule) else np.array([], dtype=int)
    if len(falls):
        first = int(falls[-1]) + 1
        steps, values, share, since = steps[first:], values[first:], share[first:], float(steps[first])
    steps, values = _binned(steps, values)
    if curve.schedule.constant:
        first = _after_jump(values)
        if first:
            steps, values, since = steps[first:], values[first:], float(steps[first])
    return Tail(steps, curve.schedule.spent(steps), curve.schedule.share(steps), values, logged, since)


def _smooth(schedule: Schedule) -> bool:
    """True if the rate never falls to less than half from one step to the next, above a hundredth of its peak."""
    rates = np.asarray(schedule.rates)
    return bool(np.all((rates[1:] >= DECAYED * rates[:-1]) | (rates[:-1] < 0.01))) if len(rates) > 1 else True


def _binned(steps: Array, values: Array) -> tuple[Array, Array]:
    if len(steps) <= MOST:
        return steps, values
    parts = np.array_split(np.arange(len(steps)), MOST)
    return np.array([steps[part].mean() for part in parts]), np.array([np.median(values[part]) for part in parts])


def _after_jump(values: Array) -> int:
    """Index of the first point after an abrupt improvement that no smooth curve makes; 0 where there is none.

    That is what a fall of the learning rate looks like whose schedule is not known: flat, a jump, flat. A step is added
    to the best smooth curve, and must explain nine tenths of what that curve leaves (an F value far beyond chance).
    """
    count = len(values)
    if count < 10:
        return 0
    x = np.arange(1.0, count + 1)
    smooth = [np.log(x), 1 / np.sqrt(x), 1 / x, *(np.exp(-x / (count * share)) for share in (0.05, 0.15, 0.5)), x]
    without = min(_left(np.column_stack([np.ones(count), shape]), values) for shape in smooth)
    best, where = np.inf, 0
    for first in range(4, count - 2):
        step = (x > first).astype(float)
        left = min(_left(np.column_stack([np.ones(count), shape, step]), values) for shape in smooth)
        if left < best:
            best, where = left, first
    scatter = float(np.sqrt(best / (count - 3)))
    fall = float(np.median(values[max(0, where - 3) : where]) - np.median(values[where : where + 3]))
    return where if best < 0.1 * without and fall > 4 * scatter else 0


def _left(columns: Array, values: Array) -> float:
    found = np.linalg.lstsq(columns, values, rcond=None)[0]
    return float(np.square(values - columns @ found).sum())
