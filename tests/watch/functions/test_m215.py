"""Networks made a second time and loaded from the state of the first."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from traindx.finding import Standing

SOURCE = """
import torch
import torch.nn as nn
import torch.nn.functional as F

class Memory(nn.Module):
    def __init__(self, length, width):
        super().__init__()
        {keys}
        self.values = {values}
        self.steps = torch.arange(length) / length

    def forward(self, x):
        weight = torch.softmax(F.normalize(x, dim=-1) @ F.normalize(self.keys, dim=-1).T / 0.2, -1)
        return weight @ self.values + self.steps.mean()

class Net(nn.Module):
    def __init__(self, width=6):
        super().__init__()
        self.body, self.memory = nn.Linear(4, width), Memory(8, width)
        self.drop = nn.Dropout(0.3)

    def forward(self, x):
        return self.drop(self.memory(self.body(x)))

def predict(net, x):
    return net(x)

def main():
    net = Net()
    x = torch.randn(5, 4)
    y = predict(net, x)
    stop()
"""
PLAIN = "self.keys = torch.randn(length, width)"
DRAWN = "torch.randn(length, width)"


@pytest.mark.parametrize(
    ("keys", "values", "named"),
    [
        (PLAIN, DRAWN, ("keys", "values")),
        (PLAIN, f"nn.Parameter({DRAWN})", ("keys",)),
        (f'self.register_buffer("keys", {DRAWN}, persistent=False)', f"nn.Parameter({DRAWN})", ("keys",)),
    ],
)
def test_random_tensors_that_no_state_holds(
    script: Callable[[str], Any], keys: str, values: str, named: tuple[str, ...]
) -> None:
    faulty = script(SOURCE.format(keys=keys, values=values))
    findings = faulty.found("M215")
    assert {one.location.line for one in findings} == {faulty.line(keys)}
    assert all(one.standing is Standing.DEMONSTRATED for one in findings)
    assert all(f"self.{name}" in findings[0].message for name in named)
    assert "self.steps" not in findings[0].message


@pytest.mark.parametrize(
    ("keys", "values"),
    [
        (f"self.keys = nn.Parameter({DRAWN})", f"nn.Parameter({DRAWN})"),
        (f'self.register_buffer("keys", {DRAWN})', f"nn.Parameter({DRAWN})"),
        ("self.keys = torch.eye(length)[:, :width]", f"nn.Parameter({DRAWN})"),  # the same whoever makes it
    ],
)
def test_what_is_in_the_state_or_always_the_same(script: Callable[[str], Any], keys: str, values: str) -> None:
    assert not script(SOURCE.format(keys=keys, values=values)).found("M215")


def test_a_random_tensor_that_no_output_depends_on(script: Callable[[str], Any]) -> None:
    source = SOURCE.format(
        keys=f"self.shown = {DRAWN}; self.keys = nn.Parameter({DRAWN})", values=f"nn.Parameter({DRAWN})"
    )
    assert not script(source).found("M215")


def test_a_network_that_draws_in_every_call(script: Callable[[str], Any]) -> None:
    source = SOURCE.format(keys=f"self.keys = nn.Parameter({DRAWN})", values=f"nn.Parameter({DRAWN})")
    assert not script(source.replace("return self.drop(", "return torch.randn(1) + (")).found("M215")
