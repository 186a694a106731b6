"""Numbers, however a function gives them."""

from __future__ import annotations

import ast

import numpy as np
import pytest
import torch

from traindx.watch.probes.functions import any_figure, any_relevant
from traindx.watch.probes.functions.common import number, words


@pytest.mark.parametrize("value", [2, 2.0, np.float32(2), np.int64(2), np.array(2.0), torch.tensor([2.0])])
def test_one_number(value: object) -> None:
    assert number(torch, value) == 2.0


@pytest.mark.parametrize("value", [True, np.bool_(True), "2", np.array(["a", "b"]), np.arange(3), None, 1j])
def test_anything_else(value: object) -> None:
    assert number(torch, value) is None


@pytest.mark.parametrize(
    ("source", "relevant", "figure"),
    [
        ("def psnr(a, b): ...", True, True),
        ("class Metrics:\n    async def dice(self, a, b): ...", True, True),
        ("class NTXent: ...", True, False),
        ("class Net:\n    def step(self): ...", False, False),
        ("x = psnr", False, False),
    ],
)
def test_sources_in_which_something_could_be_tried(source: str, relevant: bool, figure: bool) -> None:
    trees = [ast.parse("import os"), ast.parse(source)]
    assert (any_relevant(trees), any_figure(trees)) == (relevant, figure)


def test_words() -> None:
    assert words("unNormalizeImage_2d") == ["un", "normalize", "image", "2d"]
    assert words("NTXent.forward") == ["nt", "xent", "forward"]
