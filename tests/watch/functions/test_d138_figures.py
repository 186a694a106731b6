"""D138: a figure of two images of bytes whose difference wraps round."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from traindx.evidence import Evidence
from traindx.watch.probes.functions import integers
from traindx.watch.probes.recorded import RecordedCall
from watch.inside import found


def psnr(one: Any, other: Any) -> float:
    return float(10 * np.log10(255**2 / np.mean((one - other) ** 2)))


def psnr_of_floats(one: Any, other: Any) -> float:
    one, other = one.astype(float), other.astype(float)
    return float(10 * np.log10(255**2 / np.mean((one - other) ** 2)))


def overlap(one: Any, other: Any) -> float:
    both = one * other
    return float(both.sum())


@pytest.mark.parametrize(("function", "values", "count"), [(psnr, 256, 1), (psnr_of_floats, 256, 0), (overlap, 2, 0)])
def test_difference_of_bytes(function: Callable[..., float], values: int, count: int) -> None:
    rng = np.random.default_rng(0)
    images = [rng.integers(0, values, (16, 16)).astype(np.uint8) for _ in range(2)]
    call = RecordedCall(function, {"one": images[0], "other": images[1]})  # type: ignore[arg-type]
    evidence = Evidence()
    for record in integers.tried(torch, [call]):
        evidence.add(record)
    assert len(list(evidence)) == 1
    findings = found("D138", evidence)
    lines = Path(__file__).read_text().splitlines()
    assert ["one - other" in lines[one.location.line - 1] for one in findings if one.location] == [True] * count
