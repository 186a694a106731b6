"""Arrays that are given two axes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

SOURCE = """
import numpy as np

LEADS = 5

def load(raw, samples):
    signal = {signal}
    return signal / 1000

def main():
    t = np.arange(90) / 90
    leads = np.stack([np.sin(2 * np.pi * (k + 1) * t) + 3 * k * {offset} for k in range(LEADS)], 1)
    record = load({raw}, 90)
    stop()
"""


def test_rows_of_a_file_taken_for_columns(script: Callable[[str], Any]) -> None:
    raw = "(1000 * leads).astype(np.int16).ravel()"
    faulty = script(SOURCE.format(signal="raw.reshape(LEADS, samples)", raw=raw, offset=1))
    (finding,) = faulty.found("D144")
    assert finding.location.line == faulty.line("raw.reshape")
    assert not script(SOURCE.format(signal="raw.reshape(samples, LEADS).T", raw=raw, offset=1)).found("D144")


def test_a_view_of_axes_in_the_other_order_is_demonstrated(script: Callable[[str], Any]) -> None:
    faulty = script(SOURCE.format(signal="raw.reshape(LEADS, samples)", raw="leads", offset=1))
    (finding,) = faulty.found("D144")
    assert finding.standing.value == "demonstrated"


def test_numbers_without_neighbours_are_no_evidence(script: Callable[[str], Any]) -> None:
    noise = "np.random.default_rng(0).normal(size=450)"
    near = script(SOURCE.format(signal="raw.reshape(LEADS, samples)", raw=noise, offset=1))
    assert near.records
    assert not near.found("D144")
