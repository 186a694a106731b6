"""Full precision is a treatment of the script's own scalers, and counts those alone."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import pytest
import torch

from traindx.trials.treatments.full_precision.script import FullPrecision


@pytest.mark.parametrize(("ours", "enabled", "hits"), [(True, True, 1), (False, True, 0), (True, False, 0)])
def test_only_scalers_that_the_script_makes_and_uses_count(ours: bool, enabled: bool, hits: int) -> None:
    made: Any = FullPrecision.__new__(FullPrecision)
    made.arm, made.hits = SimpleNamespace(ours=ours, torch=torch), 0

    def original(scaler: Any) -> None:
        scaler._enabled = enabled

    made._make_scaler(original)(torch.amp.GradScaler.__new__(torch.amp.GradScaler))
    assert made.hits == hits
