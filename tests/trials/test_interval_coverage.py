"""Intervals of 95 % hold the true effect in 93 to 97 of 100 simulated comparisons, and nothing is seldom a verdict."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "benchmarks"))
from interval_coverage import coverage, verdicts

RUNS = 800  # a share of 95 % is then known to .8 per cent; the benchmark makes ten thousand


@pytest.mark.parametrize(("seeds", "effect"), [(2, 0.0), (3, 0.0), (5, 0.0), (3, 2.0)])
def test_coverage_of_paired_intervals(seeds: int, effect: float) -> None:
    assert 0.93 <= coverage("normal", effect, seeds, RUNS) <= 0.97


def test_a_comparison_with_itself_is_seldom_called_an_effect() -> None:
    assert verdicts("normal", 3, RUNS) <= 0.06


@pytest.mark.parametrize("seeds", [4, 6])
def test_adding_seeds_while_time_is_left_does_not_call_nothing_an_effect(seeds: int) -> None:
    assert verdicts("normal", seeds, RUNS, asked=3) <= 0.06
