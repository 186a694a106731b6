"""E824 on an area under a curve that is a function of the script's own."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

SOURCE = """
import torch

def roc_auc(y, score):
    low, high = score[y == 0], score[y == 1]
    return ((high[:, None] > low[None]).float() + 0.5 * (high[:, None] == low[None]).float()).mean().item()

class Metric:
    def __init__(self, function):
        self.function = function

    def __call__(self, y, predicted):
        return float(self.function(y, predicted))

def compute(probability, labels, metric):
    predicted = {predicted}
    return metric(labels, predicted)

def main():
    torch.manual_seed(0)
    labels = (torch.rand({count}) > 0.5).long()
    probability = (0.3 * labels + 0.7 * torch.rand({count}))
    metric = Metric(roc_auc)
    value = compute(probability, labels, metric)
    stop()
"""


def test_decisions_are_placed_at_the_line_that_hands_them_over(script: Callable[[str], Any]) -> None:
    seen = script(SOURCE.format(predicted="(probability > 0.5).long()", count=120))
    (finding,) = seen.found("E824")
    assert finding.location.line == seen.line("return metric(labels, predicted)")


def test_decisions_that_are_all_alike_early_in_a_training(script: Callable[[str], Any]) -> None:
    assert script(SOURCE.format(predicted="(probability > 2).long()", count=120)).found("E824")
    assert not script(SOURCE.format(predicted="(probability > 2).float()", count=120)).found("E824")  # a dead network


@pytest.mark.parametrize(("predicted", "count"), [("probability", 120), ("(probability > 0.5).long()", 20)])
def test_scores_and_few_samples(script: Callable[[str], Any], predicted: str, count: int) -> None:
    seen = script(SOURCE.format(predicted=predicted, count=count))
    assert not seen.found("E824")
