"""Losses that are given a prediction and never read it."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from traindx.finding import Standing

SOURCE = """
import torch
import torch.nn.functional as F

def smoothness(field):
    return (field[:, :, 1:] - field[:, :, :-1]).square().mean()

def registration_loss(fixed, moved, flow, weight):
    similarity = F.mse_loss(moved, fixed)
    return similarity, similarity + weight * smoothness({of})
{more}
def main():
    fixed = torch.randn(2, 1, 8, 8)
    flow = torch.randn(2, 2, 8, 8){grad}
    moved = fixed * 0.5 + flow[:, :1]
    similarity, loss = registration_loss(fixed, moved, flow, 0.1)
    stop()
"""
GRAD = ".requires_grad_(True)"


def test_a_field_that_no_term_reads(script: Callable[[str], Any]) -> None:
    faulty = script(SOURCE.format(of="moved", grad=GRAD, more=""))
    (finding,) = faulty.found("L333")
    assert finding.standing is Standing.SUSPECTED
    assert finding.location.line == faulty.line("similarity, loss = registration_loss")
    assert "given flow" in finding.message


@pytest.mark.parametrize(
    ("of", "grad", "more"),
    [
        ("flow", GRAD, ""),
        ("moved", "", ""),  # nothing that was predicted
        ("moved", GRAD, "\ndef other_loss(fixed, moved, flow, weight):\n    return flow.mean()\n"),
    ],
)
def test_what_is_read_or_not_predicted_or_one_of_many(
    script: Callable[[str], Any], of: str, grad: str, more: str
) -> None:
    assert script(SOURCE.format(of=of, grad=grad, more=more)).found("L333") == []
