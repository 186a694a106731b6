"""Which iterations are watched, and how closely: dense in the first ones, then geometric.

Most faults show in the first iterations; the rest is followed with a cost that falls to nothing.
"""

from __future__ import annotations

from enum import IntEnum


class ObservationLevel(IntEnum):
    """How closely an iteration is watched."""

    OFF = 0
    LIGHT = 1
    FULL = 2


FULL_SHARE = 4
LEAST_STAGE = 20  # iterations; an optimiser a sample (as in meta-learning) begins no stage of a training
MOST_STAGES = 4


class Schedule:
    """ObservationLevel of every iteration, decided from its number alone, so that two runs watch the same iterations.

    Args:
        every: Constant rate, one in so many; 0 for dense first, then geometric. Of iterations that are watched at a
            distance every fourth is watched in full, as that takes a backward pass for every term of the loss.
        dense: Iterations watched one by one at the start.
        ratio: Growth of the distance afterwards.
        full_ratio: Growth of the distance between the iterations that are watched in full.
    """

    def __init__(self, every: int = 0, dense: int = 5, ratio: float = 1.3, full_ratio: float = 2.6) -> None:
        self.every = every
        self.dense = dense
        self.ratio = ratio
        self.full_ratio = full_ratio
        self._light_next = dense
        self._full_next = 2
        self._begun = 0
        self._stages = 1

    def new_stage(self, iteration: int) -> None:
        """Another optimiser drives the iterations from here on: what it trains is new, and is watched as closely."""
        if iteration - self._begun < LEAST_STAGE or self._stages >= MOST_STAGES:
            return
        self._begun, self._light_next, self._full_next = iteration, self.dense, 2
        self._stages += 1

    def level(self, iteration: int) -> ObservationLevel:
        """ObservationLevel of an iteration; to be asked with growing numbers."""
        if self.every:
            return self._at_a_constant_rate(iteration)
        iteration -= self._begun
        if iteration == 0:
            return ObservationLevel.FULL
        if iteration >= self._full_next:
            self._full_next = max(iteration + 1, round(iteration * self.full_ratio))
            self._light_next = max(self._light_next, iteration + 1)
            return ObservationLevel.FULL
        if iteration < self.dense:
            return ObservationLevel.LIGHT
        if iteration >= self._light_next:
            self._light_next = max(iteration + 2, round(iteration * self.ratio))
            return ObservationLevel.LIGHT
        return ObservationLevel.OFF

    def _at_a_constant_rate(self, iteration: int) -> ObservationLevel:
        number, between = divmod(iteration, self.every)
        if between:
            return ObservationLevel.OFF
        return ObservationLevel.FULL if self.every == 1 or number % FULL_SHARE == 0 else ObservationLevel.LIGHT


class Bursts:
    """The same idea for things that happen at one place of the code: which occurrences are watched."""

    def __init__(self, dense: int = 3, ratio: float = 2.0) -> None:
        self.dense = dense
        self.ratio = ratio
        self._count: dict[object, int] = {}
        self._next: dict[object, int] = {}

    def wanted(self, place: object) -> bool:
        """True if this occurrence at this place should be looked at."""
        count = self._count.get(place, 0)
        self._count[place] = count + 1
        if count < self.dense:
            return True
        if count >= self._next.get(place, self.dense):
            self._next[place] = max(count + 1, round(count * self.ratio))
            return True
        return False

    def postpone(self, place: object) -> None:
        """An occurrence that was wanted could not be looked at: the next one at this place is wanted instead."""
        count = self._count[place] = self._count[place] - 1
        if count >= self.dense:
            self._next[place] = count
