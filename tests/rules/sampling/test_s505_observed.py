"""S505 as a watched script shows it: the same argument of the same network in training and in sampling."""

from __future__ import annotations

import pytest

from traindx.evidence.base import Evidence
from traindx.evidence.observed import ObservedTime
from traindx.finding import Location
from traindx.rules import catalogue


def seen(phase, low, high, integer, distinct=40):
    place = Location(file="train.py", line=12)
    return ObservedTime(network="UNet", argument="1", phase=phase, low=low, high=high, distinct=distinct,
                        integer=integer, dtype="float32", where=place, step=3)  # fmt: skip


def found(training, sampling):
    evidence = Evidence(None)
    evidence.add(training)
    evidence.add(sampling)
    return catalogue()["S505"].check(evidence)


@pytest.mark.parametrize(
    ("training", "sampling"),
    [
        (seen("training", 0.0, 0.99, integer=False), seen("sampling", 0.0, 999.0, integer=True)),
        (seen("training", 0.0, 999.0, integer=True), seen("sampling", 0.02, 1.0, integer=False)),
    ],
)
def test_an_index_in_one_phase_and_a_fraction_in_the_other(training, sampling):
    (finding,) = found(training, sampling)
    assert finding.location.line == 12


def test_the_same_time_in_both_is_right():
    assert not found(seen("training", 0.0, 999.0, integer=True), seen("sampling", 19.0, 999.0, integer=True))


def test_fractions_in_both_span_what_they_span():
    """Near misses: the first steps of a solver of differential equations, and noise levels drawn log-normally."""
    assert not found(seen("training", 0.0, 25.0, integer=False), seen("sampling", 0.0, 0.002, integer=False))
    assert not found(seen("training", 0.01, 11.3, integer=False), seen("sampling", 0.002, 80.0, integer=False))
