"""Figures by name."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from traindx.evidence.probed_functions import MetricTried

PSNR = """
import torch

def psnr(pred, target):
    error = ((pred - target) ** 2).mean()
    return {figure}

def main():
    torch.manual_seed(0)
    target = torch.rand(2, 1, 8, 8)
    value = psnr(target + 0.1 * torch.randn_like(target), target)
    stop()
"""
SLICES = """
import numpy as np

def psnr(gt, pred):
    return 10 * np.log10({peak} ** 2 / np.mean((gt - pred) ** 2))

def main():
    rng = np.random.default_rng(0)
    fades = np.array([0.1, 0.4, 1.0, 0.4, 0.1])[:, None, None]
    volume = {scale} * rng.random((5, 12, 12))
    noisy = volume + 0.01 * rng.standard_normal(volume.shape)
    value = {call}
    stop()
"""
DICE = """
import torch

def dice_score(pred, target):
    pred = {form}
    overlap = (pred * target).sum((1, 2))
    return ({factor} * overlap / (pred.sum((1, 2)) + target.sum((1, 2)) + 1e-6)).mean()

def main():
    torch.manual_seed(0)
    target = (torch.rand(4, 8, 8) > 0.6).float()
    {empty}
    value = dice_score(torch.randn(4, 8, 8), target)
    stop()
"""


@pytest.mark.parametrize("figure", ["10 * torch.log(1 / error)", "20 * torch.log10(1 / error)"])
def test_decibels_that_are_none(script: Callable[[str], Any], figure: str) -> None:
    faulty = script(PSNR.format(figure=figure))
    (finding,) = faulty.found("E821")
    assert finding.location.line == faulty.line("return")


@pytest.mark.parametrize("peak", ["1", "255 ** 2", "target.max() ** 2", "(pred.max() - pred.min()) ** 2"])
def test_whichever_the_peak_is(script: Callable[[str], Any], peak: str) -> None:
    healthy = script(PSNR.format(figure=f"10 * torch.log10({peak} / error)"))
    assert healthy.records
    assert not healthy.found("E821")


def test_a_mask_with_itself(script: Callable[[str], Any]) -> None:
    faulty = script(DICE.format(form="(pred > 0).float()", factor="1", empty=""))
    (finding,) = faulty.found("E821")
    assert abs(finding.numbers["perfect"] - 0.5) < 1e-3
    for form in ("(pred > 0).float()", "pred.sigmoid()", "(pred > 0.5).float()"):
        healthy = script(DICE.format(form=form, factor="2", empty=""))
        assert healthy.records
        assert not healthy.found("E821")


def test_what_a_figure_makes_of_nothing_is_a_convention(script: Callable[[str], Any]) -> None:
    seen = script(DICE.format(form="(pred > 0).float()", factor="2", empty="target[1] = 0"))
    assert not [one for one in seen.records if isinstance(one, MetricTried)]


def test_a_peak_of_every_slice_is_placed_at_the_line_that_hands_slices_over(script: Callable[[str], Any]) -> None:
    each = "np.mean([psnr(a, b) for a, b in zip(volume, noisy)])"
    faulty = script(SLICES.format(peak="gt.max()", scale="fades", call=each))
    (finding,) = faulty.found("E802")
    assert finding.location.line == faulty.line("value = ")
    assert finding.numbers["largest_peak"] > 2 * finding.numbers["smallest_peak"]
    for peak, scale, call in (
        ("gt.max()", "fades", "psnr(volume, noisy)"),
        ("1.0", "fades", each),
        ("gt.max()", "1.0", each),
    ):
        assert not script(SLICES.format(peak=peak, scale=scale, call=call)).found("E802")
