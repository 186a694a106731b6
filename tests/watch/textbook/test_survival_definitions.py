"""Survival by definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

Define = Callable[..., Any]
CALL = "cox_loss(torch.randn(12), torch.rand(12), torch.randint(0, 2, (12,)).float())"
SORT = "order = time.argsort(descending=True); risk, event = risk[order], event[order]\n    "
COX = "def cox_loss(risk, time, event):\n    {}\n"
CUMULATED = "return -((risk - risk.logcumsumexp(0)) * event).sum() / event.sum()"
PAIRS = "at = (time[None] >= time[:, None]).float(); return -((risk - (at * risk.exp()).sum(1).log()) * event).mean()"


@pytest.mark.parametrize(
    ("body", "holds"),
    [
        (SORT + CUMULATED, True),
        (PAIRS, True),
        (CUMULATED, False),
        (PAIRS.replace(">=", "<="), False),
        (PAIRS.replace("time[:, None]).", "time[:, None]).t()."), False),
        (SORT.replace("True", "False") + CUMULATED, False),
    ],
)
def test_cox(define: Define, body: str, holds: bool) -> None:
    assert define(COX.format(body), CALL)["cox-partial-likelihood"].holds is holds


def test_rows_that_the_script_has_sorted(define: Define) -> None:
    call = CALL.replace("torch.rand(12)", "torch.rand(12).sort(descending=True)[0]")
    assert define(COX.format(CUMULATED), call)["cox-partial-likelihood"].holds
    assert not define(COX.format(CUMULATED), CALL.replace("torch.rand(12)", "torch.rand(12).sort()[0]"))[
        "cox-partial-likelihood"
    ].holds


KM = """
def kaplan_meier(time, event):
    order = np.argsort(time)
    time, event = time[order], event[order]
    levels, level = [], 1.0
    for i in range(len(time)):
        at_risk = {}
        {}
        levels.append(level)
    return time, np.array(levels)
"""


@pytest.mark.parametrize(
    ("risk", "step", "holds"),
    [
        ("len(time) - i", "level *= 1 - event[i] / at_risk", True),
        ("(time >= time[i]).sum()", "level *= 1 - event[i] / at_risk", True),
        ("len(time)", "level *= 1 - event[i] / at_risk", False),
        ("len(time) - i", "level *= 1 - 1 / at_risk", False),
    ],
)
def test_kaplan_meier(define: Define, risk: str, step: str, holds: bool) -> None:
    call = "kaplan_meier(np.random.rand(20), np.random.randint(0, 2, 20))"
    assert define(KM.format(risk, step), call)["kaplan-meier-of-known-times"].holds is holds
