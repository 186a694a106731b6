"""Pairs of a comparison that grow in number while time is left, and the level at which each look at them tests."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import count, islice

from traindx.finding import Effect
from traindx.trials.statistics import (
    LEVEL,
    Direction,
    Identity,
    at_confidence,
    consistent,
    direction,
    look_level,
    p_value,
)

SEEDS = (0, 1, 2)
MOST_SEEDS = 12  # an effect that twelve pairs do not show is small beside the noise
_DIFFER = Identity(weights=False, predictions=False)


@dataclass
class Looks:
    """The seeds of one comparison, and what may be concluded after each.

    Attributes:
        asked: Seeds in the order in which they are run; () for three, and more while time is left.
        seeds: Those that may be run.
        settled_at: Level of the early look that settled it; 0 where none did.
    """

    asked: Sequence[int] = ()
    seeds: tuple[int, ...] = field(init=False)
    settled_at: float = field(default=0.0, init=False)

    def __post_init__(self) -> None:
        self.grows = not self.asked
        self.asked = tuple(self.asked) or SEEDS
        further = (seed for seed in count() if seed not in self.asked)
        more = MOST_SEEDS - len(self.asked) if self.grows else 0
        self.seeds = (*self.asked, *islice(further, more))

    def settles(self, effect: Effect | None, negligible: float) -> bool:
        """Whether what is known now needs no further seed; asked once after every pair.

        Args:
            effect: Paired effect of all pairs so far.
            negligible: Difference that is of no importance.
        """
        if not self.grows or effect is None or effect.n < 2 or effect.n >= len(self.seeds):
            return False
        level = look_level(effect.n, effect.n + 1, len(self.asked))
        if level <= 0:
            return False
        wide = at_confidence(effect, 1 - level)
        if direction(wide, p_value(effect), negligible, _DIFFER, level) is Direction.OPEN:
            return False
        self.settled_at = level
        return True

    def level(self, pairs: int) -> float:
        """Level of the last look, which has what no look before it spent."""
        if self.settled_at:
            return self.settled_at
        return look_level(pairs, pairs, len(self.asked)) if self.grows else LEVEL

    def shown(self, effect: Effect | None) -> Effect | None:
        """The effect with the interval that the verdict follows from."""
        if effect is None:
            return None
        if self.settled_at:
            return at_confidence(effect, 1 - self.settled_at)
        return consistent(effect, p_value(effect), self.level(effect.n))
