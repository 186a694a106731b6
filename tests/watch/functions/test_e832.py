"""Functions that only read by their names: what they leave of their arguments and of their objects."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from traindx.evidence.probed_functions import ReadingTried
from traindx.finding import Standing

ARGUMENTS = """
import numpy as np
import torch

def aggregate(scores):
    {body}
    return {{"mean": float(scores.mean()), "best": float(scores.max())}}

def spread(scores):
    return float(np.nanstd(scores))

def main():
    scores = np.array([0.5, np.nan, 0.7, 0.9, np.nan, 0.4])
    [stop][0]()  # which is not called again itself
    summary = aggregate({given})
    {after}
"""
CHANGING = "scores[np.isnan(scores)] = 0.0"


def test_scores_that_lose_their_gaps(script: Callable[[str], Any]) -> None:
    """Whoever counts the gaps afterwards finds none."""
    faulty = script(ARGUMENTS.format(body=CHANGING, given="scores", after="print(np.isnan(scores).sum())"))
    (finding,) = faulty.found("E832")
    assert finding.standing is Standing.SUSPECTED
    assert finding.location.line == faulty.line(CHANGING)
    assert "loses 2 NaN of 6 values, which become 0" in finding.message
    assert f"line {faulty.line('print(')}" in finding.message


def test_a_figure_that_is_another_one_the_second_time(script: Callable[[str], Any]) -> None:
    again = "for _ in range(2):\n        print(aggregate(scores))"
    source = ARGUMENTS.format(body="scores *= scores", given="scores", after="")
    faulty = script(source.replace("summary = aggregate(scores)", again).replace("np.nan,", "0.2,"))
    (finding,) = faulty.found("E832")
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.location.line == faulty.line("scores *= scores")
    assert finding.numbers["before"] != finding.numbers["after"]


SILENT = {
    "a copy": ("scores = np.nan_to_num(scores)", "scores", "print(scores)"),
    "a copy that is written into": ("scores = scores.copy(); scores[0] = 0.0", "scores", "print(scores)"),
    "made for the call": (CHANGING, "scores.copy()", "print(scores)"),
    "not read again": (CHANGING, "scores", "print(summary)"),
    "given another value": (CHANGING, "scores", "scores = np.zeros(3); print(scores)"),
}


@pytest.mark.parametrize("kind", SILENT)
def test_what_nobody_is_harmed_by(script: Callable[[str], Any], kind: str) -> None:
    body, given, after = SILENT[kind]
    healthy = script(ARGUMENTS.format(body=body, given=given, after=after))
    assert healthy.found("E832") == []
    assert any(isinstance(one, ReadingTried) for one in healthy.records)


STATE = """
import numpy as np

class DiceMeter:
    def __init__(self):
        self.total = np.zeros(3)
        self.count = 0
        self.seen = []

    def update(self, dice):
        self.total += dice
        self.count += 1
        self.seen.append(float(dice.mean()))

    def compute(self):
{body}

    def summary(self):
        return float(self.total[1] / self.count)

def main():
    meter = DiceMeter()
    for step in range(4):
        meter.update(np.array([0.9, 0.5, 0.7]) / (step + 1))
    [stop][0]()  # which is not called again itself
    print(meter.compute())
"""


def _body(*lines: str) -> str:
    return "\n".join("        " + line for line in lines)


@pytest.mark.parametrize(
    ("lines", "changed"),
    [
        (("self.total /= self.count", "return self.total.mean()"), "self.total /="),
        (("self.count += 1", "return float(self.total.mean() / self.count)"), "self.count += 1\n        return"),
        (("out = self.total", "out[1] = 0.0", "return out.mean()"), "out[1] = 0.0"),  # the other reader suffers
    ],
)
def test_a_metric_that_changes_by_being_read(
    script: Callable[[str], Any], lines: tuple[str, ...], changed: str
) -> None:
    faulty = script(STATE.format(body=_body(*lines)))
    (finding,) = faulty.found("E832")
    assert finding.standing is Standing.DEMONSTRATED
    source = faulty.path.read_text().splitlines()
    assert (
        source[finding.location.line - 1].strip() == changed.split("\n", maxsplit=1)[0].strip()
        or changed in source[finding.location.line - 1]
    )


@pytest.mark.parametrize(
    "lines",
    [
        ("mean = self.total / self.count", "self.last = mean", "return mean.mean()"),  # keeps what it gave
        ("value = float(self.total.mean())", "self.total[:] = 0", "self.seen = []", "return value"),  # begins anew
        ("value = self.total.mean()", "self.__init__()", "return value"),
        ("self.seen.append(1.0)", "return float(self.total.mean())"),  # the figure stays
    ],
)
def test_what_a_metric_may_do(script: Callable[[str], Any], lines: tuple[str, ...]) -> None:
    assert script(STATE.format(body=_body(*lines))).found("E832") == []


@pytest.mark.parametrize("name", ["RunningDice", "ValueScheduler", "ExponentialAverage"])
def test_what_counts_on_by_design(script: Callable[[str], Any], name: str) -> None:
    lines = ("self.count += 1", "return float(self.total.mean() / self.count)")
    source = STATE.format(body=_body(*lines)).replace("DiceMeter", name)
    assert script(source).found("E832") == []


def test_what_holds_more_than_figures(script: Callable[[str], Any]) -> None:
    """An object with a generator draws other batches each time, and is no store of results."""
    lines = ("self.total /= self.count", "return float(self.total.mean())")
    source = STATE.format(body=_body(*lines)).replace("self.seen = []", "self.seen = []; self.rng = iter([1, 2])")
    assert script(source).found("E832") == []


DEFAULT = """
def average(values, kept={default}):
    {how}
    return sum(kept) / len(kept)

def main():
    values = [0.2, 0.4]
    [stop][0]()  # which is not called again itself
    print(average(values))
"""


def test_a_default_that_every_call_shares(script: Callable[[str], Any]) -> None:
    faulty = script(DEFAULT.format(default="[1.0]", how="kept.extend(values)"))
    (finding,) = faulty.found("E832")
    assert finding.standing is Standing.SUSPECTED
    assert "default kept" in finding.message
    assert script(DEFAULT.format(default="None", how="kept = [1.0]; kept.extend(values)")).found("E832") == []


ORDER = """
import numpy as np

def median_dice(dice):
    dice.sort()
    return float(dice[len(dice) // 2])

def first_case_dice(dice):
    return float(dice[0])

def main():
    dice = np.array([0.9, 0.1, 0.8, 0.4, 0.6])
    [stop][0]()  # which is not called again itself
    median = median_dice({given})
    {after}
"""


def test_another_reader_that_gets_another_figure(script: Callable[[str], Any]) -> None:
    """The order of cases is lost for whoever comes later: seen with the function that comes later."""
    healthy = script(ORDER.format(given="dice.copy()", after="print(first_case_dice(dice))"))
    assert healthy.found("E832") == []
    faulty = script(ORDER.format(given="dice", after="print(first_case_dice(dice))"))
    (finding,) = faulty.found("E832")
    assert finding.location.line == faulty.line("dice.sort()")
    assert "in another order" in finding.message
