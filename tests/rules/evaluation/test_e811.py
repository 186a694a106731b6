"""E811 from the check to the rule: an overlap of sets needs sets."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import traindx as dx
from patients.sitting import findings, run_check
from traindx.checks.metrics.hardened_metric import hardened_metric
from traindx.finding import Standing


class Net(nn.Module):
    def __init__(self, gain=2.0):
        super().__init__()
        self.gain = nn.Parameter(torch.tensor(gain))

    def forward(self, x):
        return self.gain * x


def batches():
    generator = torch.Generator().manual_seed(0)
    for _ in range(3):
        image = torch.randn(2, 1, 16, 16, generator=generator)
        yield {"image": image, "mask": (image + 0.3 * torch.randn(image.shape, generator=generator) > 0).float()}


def soft(p, t):
    return 2 * (p * t).sum() / (p.sum() + t.sum())


def hard(p, t):
    return soft((p >= 0.5).float(), t)


def found(metrics, predict=lambda m, b: torch.sigmoid(m(b["image"]))):
    made = dx.Case(model=Net, train=batches, target=lambda b: b["mask"], predict=predict, metrics=metrics)
    return findings(run_check(made, hardened_metric, trained=Net()), "E811")


@pytest.mark.parametrize("name", ["dice", "val_dice", "IoU", "F1-macro"])
def test_an_overlap_of_probabilities_is_demonstrated_with_both_figures(name):
    (finding,) = found({name: soft})
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.numbers["of_masks"] > finding.numbers["as_is"] + 0.02
    assert "soft" in finding.location.symbol


def test_an_overlap_of_masks_is_left_alone():
    assert found({"dice": hard}) == []


def test_masks_given_to_the_soft_formula_are_left_alone():
    """A near miss: the formula does not threshold, but what it is given is a mask already."""
    assert found({"dice": soft}, predict=lambda m, b: (m(b["image"]) > 0).float()) == []


@pytest.mark.parametrize("name", ["soft_dice", "soft dice", "softdice", "brier", "auroc", "mse"])
def test_metrics_that_are_meant_for_values_are_left_alone(name):
    assert found({name: soft}) == []


def test_logits_in_a_dice_are_demonstrated():
    (finding,) = found({"dice": soft}, predict=lambda m, b: m(b["image"]))
    assert abs(finding.numbers["as_is"] - finding.numbers["of_masks"]) > 0.05
