"""C1111: statements whose result nobody takes, seen to run or told from the source."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch
from torch import nn

from traindx.finding import Standing
from traindx.watch.collectors import thrown_away
from traindx.watch.collectors.thrown_away import statements_of
from traindx.watch.runtime import source_text
from watch.inside import found, watched


def train(kind: str) -> None:
    net = nn.Linear(4, 2)
    optimizer = torch.optim.SGD(net.parameters(), 0.1)
    for _ in range(4):
        image = torch.randn(3, 4)
        if kind == "thrown away":
            image.clamp(0, 1)
        elif kind == "in place":
            image.clamp_(0, 1)
        elif kind == "taken":
            image = image.clamp(0, 1)
        elif kind == "arithmetic":
            (image * 2 + 1).cpu()
        elif kind == "sum":
            image + torch.ones(4)
        elif kind == "sum in place":
            image += torch.ones(4)
        elif kind == "sum taken":
            image = image * 2 + torch.ones(4)
        elif kind == "nothing to do":
            image.cpu()
            image.float()
            net.to("cpu")  # a network changes in place
        net(image).square().mean().backward()
        optimizer.step()


def test_a_clamp_that_nobody_takes_is_shown_at_its_line(tmp_path: Path) -> None:
    (finding,) = found("C1111", watched(lambda: train("thrown away"), tmp_path))
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.location is not None
    assert Path(__file__).read_text().splitlines()[finding.location.line - 1].strip() == "image.clamp(0, 1)"
    assert finding.numbers["calls"] == 4


def test_arithmetic_that_nobody_takes_is_lost_even_where_the_call_after_it_does_nothing(tmp_path: Path) -> None:
    (finding,) = found("C1111", watched(lambda: train("arithmetic"), tmp_path))
    assert finding.standing is Standing.DEMONSTRATED
    assert "(image * 2 + 1).cpu()" in finding.message


def test_a_sum_that_nobody_takes_is_shown_once(tmp_path: Path) -> None:
    """As a positional code that is added and not assigned."""
    (finding,) = found("C1111", watched(lambda: train("sum"), tmp_path))
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.location is not None
    assert Path(__file__).read_text().splitlines()[finding.location.line - 1].strip() == "image + torch.ones(4)"


@pytest.mark.parametrize("kind", ["in place", "taken", "nothing to do", "sum in place", "sum taken"])
def test_what_acts_in_place_or_is_taken_is_left_alone(kind: str, tmp_path: Path) -> None:
    assert not found("C1111", watched(lambda: train(kind), tmp_path))


SOURCE = """
import numpy as np
import pandas

def read(folder, table):
    names = list(folder)
    sorted(names)
    names.sort()
    array = np.zeros(3)
    np.clip(array, 0, 1)
    np.clip(array, 0, 1, out=array)
    np.clip(array, 0, 1, array)
    table.dropna()
    table.dropna(inplace=True)
    np.random.seed(0)
    print(sorted(names))
    return sorted(names), array

sorted([2, 1])
"""


def test_sources_are_read_for_what_torch_does_not_see(tmp_path: Path) -> None:
    file = tmp_path / "reader.py"
    file.write_text(SOURCE)
    lines = SOURCE.splitlines()
    seen = {lines[line - 1].strip(): result for line, _, _, result in statements_of(str(file))}
    assert seen == {"sorted(names)": "list", "np.clip(array, 0, 1)": "array", "table.dropna()": "table"}
    assert all(isinstance(ast.parse(text).body[0], ast.Expr) for text in seen)


@pytest.mark.parametrize(
    ("source", "some"),
    [
        ("import numpy as np\ndef f(x):\n    np.clip(x, 0, 1)\n", True),
        ("import os, numpy\ndef f(x):\n    if x: numpy.pad(x, 1)\n", True),
        ("def f(x):\n    sorted(x)\n", True),
        ("def f(table):\n    table.loc[0].dropna()\n", True),
        ("import numpy as np\ndef f(x):\n    x = np.clip(x, 0, 1)\n    return sorted(x)\n", False),
        ("def f(x):\n    x.append(1)\n", False),
    ],
)
def test_only_files_that_may_have_such_a_statement_are_parsed(
    source: str, some: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program of hundreds of files would wait for seconds."""
    path = tmp_path / "code.py"
    path.write_text(source)
    parsed: list[str] = []
    monkeypatch.setattr(thrown_away, "parsed", lambda file: parsed.append(file) or source_text.parsed(file))
    assert bool(thrown_away.statements_of(str(path))) == some
    assert bool(parsed) == some


def test_nothing_is_missed_by_looking_at_the_text_first() -> None:
    for path in Path(thrown_away.__file__).parents[2].rglob("*.py"):
        text = path.read_text(encoding="utf-8")
        tree = ast.parse(text)
        if any(thrown_away._inside(tree, "", thrown_away.numpy_names(tree))):
            assert thrown_away.may_have_some(text), path
