"""Functions that renumber labels."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from traindx.evidence.observed_loss import LossCall

CLASSES = LossCall(function="cross_entropy", classes=4)
TABLE = """
import torch

class Convert:
    def __init__(self, mapping):
        self.mapping = mapping

    def __call__(self, data):
        label = data["label"]
        out = label.clone()
        for old, new in self.mapping.items():
            out[{where} == old] = new
        return {{"label": out}}

def main():
    convert = Convert({{1: 2, 2: 3, 3: 1}})
    label = torch.arange(64).reshape(8, 8) % 4
    data = convert({{"label": label}})
    stop()
"""
CODES = """
import numpy as np

def consecutive(code):
    codes = {codes}
    out = np.zeros(code.shape, np.int64)
    for new, old in enumerate(codes, 1):
        out[code == old] = new
    return out

def main():
    maps = [np.arange(64).reshape(8, 8) % k * 3 for k in (4, 3)]
    maps = [maps[0], maps[1] + 3]
    made = [consecutive(one) for one in maps]
    stop()
"""


def test_what_was_replaced_is_replaced_again(script: Callable[[str], Any]) -> None:
    faulty = script(TABLE.format(where="out"))
    (finding,) = faulty.found("D142")
    assert finding.location.line == faulty.line("== old")
    assert (finding.numbers["value"], finding.numbers["expected"], finding.numbers["became"]) == (1, 2, 1)
    assert not script(TABLE.format(where="label")).found("D142")


def test_numbers_that_depend_on_the_image(script: Callable[[str], Any]) -> None:
    faulty = script(CODES.format(codes="np.unique(code)[1:]"))
    (finding,) = faulty.found("D142", CLASSES)
    assert finding.location.line == faulty.line("code == old")
    assert not faulty.found("D142")  # numbers of instances are made so, where no loss takes classes
    assert not script(CODES.format(codes="(3, 6, 9)")).found("D142", CLASSES)
