"""Pairs that grow in number: which seeds, when it stops, and that looking often confirms nothing."""

from __future__ import annotations

import numpy as np
import pytest

from traindx.trials.growing import Looks
from traindx.trials.statistics import Direction, Identity, direction, p_value, paired_effect

DIFFER = Identity(weights=False, predictions=False)


def test_seeds_that_were_asked_for_are_all_there_are() -> None:
    looks = Looks((4, 7))
    assert looks.seeds == (4, 7)
    strong = paired_effect([1.0, 1.1], [0.0, 0.1001])
    assert not looks.settles(strong, 0.0)
    assert looks.level(2) == 0.05


def test_without_any_there_are_three_and_more_up_to_twelve() -> None:
    looks = Looks()
    assert looks.asked == (0, 1, 2)
    assert looks.seeds == tuple(range(12))


def test_a_look_after_three_needs_more_than_the_last_one() -> None:
    """t = 6 on two degrees of freedom: p = 0.027, enough for the last look and not for an early one."""
    differences = np.array([1.0, 1.0 + 0.5, 1.0 - 0.5]) / 1.0
    differences = 1 + (differences - 1) * (3**0.5 / 6) / differences.std(ddof=1)
    effect = paired_effect(list(differences), [0.0] * 3)
    assert p_value(effect) == pytest.approx(0.0267, abs=1e-3)
    looks = Looks()
    assert not looks.settles(effect, 0.0)
    assert looks.level(3) == pytest.approx(0.05 * 0.98)
    assert direction(looks.shown(effect), p_value(effect), 0.0, DIFFER, looks.level(3)) is Direction.BETTER


def test_a_look_that_settles_shows_the_interval_of_its_level() -> None:
    effect = paired_effect([1.0, 1.01, 0.99], [0.0] * 3)
    looks = Looks()
    assert looks.settles(effect, 0.0)
    assert looks.shown(effect).confidence == pytest.approx(0.99)
    assert looks.shown(effect).low > 0


def test_of_nothing_one_in_twenty_is_called_better_or_worse() -> None:
    """4000 comparisons of noise with itself: an independent count of what the levels promise."""
    draw = np.random.default_rng(0)
    called = 0
    for _ in range(4000):
        treated, untreated = draw.normal(size=(2, 12))
        looks = Looks()
        for pairs in range(2, 13):
            effect = paired_effect(treated[:pairs].tolist(), untreated[:pairs].tolist())
            if looks.settles(effect, 0.0):
                break
        said = direction(looks.shown(effect), p_value(effect), 0.0, DIFFER, looks.level(effect.n))
        called += said is not Direction.OPEN
    assert 0.035 < called / 4000 < 0.06
