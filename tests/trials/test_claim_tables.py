"""What a table of claims says of a figure: the gain, its interval if there is one, a dash if nothing was measured."""

from __future__ import annotations

import math
from typing import Any, cast

import pytest

from traindx.finding import Effect
from traindx.trials.claim_files import Tried


@pytest.mark.parametrize(
    ("effect", "says"),
    [
        (Effect(mean=1.25, low=0.5, high=2.0, n=3), "+1.25 [+0.5, +2] dB"),
        (Effect(mean=1.25, low=math.nan, high=math.nan, n=1), "+1.25 dB"),
        (Effect(mean=math.nan, low=math.nan, high=math.nan, n=0), "–"),
        (None, "–"),
    ],
)
def test_what_was_measured(effect: Effect | None, says: str) -> None:
    claim = cast("Any", None)
    assert Tried(claim, "helps", "psnr", "dB", effect, "").measured == says
