"""Concordance indices."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

SOURCE = """
import numpy as np

def c_index(risk, time, event):
    pairs = right = 0.0
    for i in range(len(time)):
        for j in range(len(time)):
            if event[i] and time[i] < time[j]:
                pairs += 1
                right += {right}
    return right / pairs

def main():
    rng = np.random.default_rng(0)
    time, event = rng.exponential(1.0, 30), rng.integers(0, 2, 30)
    value = c_index(rng.normal(size=30) - time, time, event)
    stop()
"""


@pytest.mark.parametrize("right", ["risk[i] > risk[j]", "risk[i] < risk[j]"])
def test_either_order_is_a_convention(script: Callable[[str], Any], right: str) -> None:
    healthy = script(SOURCE.format(right=right))
    assert healthy.records
    assert not healthy.found("E821")


@pytest.mark.parametrize("right", ["0.5 * (risk[i] > risk[j])", "risk[i] != risk[j]", "risk[i] > risk[0]"])
def test_risks_in_the_order_of_the_times_have_1(script: Callable[[str], Any], right: str) -> None:
    faulty = script(SOURCE.format(right=right))
    (finding,) = faulty.found("E821")
    assert finding.location.line == faulty.line("return right / pairs")
