"""Anchors made from aspect ratios."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

SOURCE = """
import torch
from dataclasses import dataclass, field

@dataclass
class Config:
    aspect_ratios: list = field(default_factory=lambda: {ratios})

def make_priors(cfg):
    boxes = []
    for i in range(4):
        for ratio in cfg.aspect_ratios:
            w = 16 * ratio ** 0.5
            h = 16 {operator} ratio ** 0.5
            boxes.append([8 * i, 4, w, h])
    return torch.tensor(boxes)

def main():
    cfg = Config()
    priors = make_priors(cfg)
    stop()
"""


def test_squares_for_every_ratio(script: Callable[[str], Any]) -> None:
    faulty = script(SOURCE.format(ratios="[1.0, 3.0, 1 / 3]", operator="*"))
    (finding,) = faulty.found("D143")
    assert finding.location.line == faulty.line("h = 16")


def test_boxes_of_every_shape_are_no_fault(script: Callable[[str], Any]) -> None:
    assert not script(SOURCE.format(ratios="[1.0, 3.0, 1 / 3]", operator="/")).found("D143")


def test_two_ratios_that_are_alike_once_rounded(script: Callable[[str], Any]) -> None:
    near = script(SOURCE.format(ratios="[1.0, 2.0]", operator="/"))
    assert near.records
    assert not near.found("D143")
