"""The step of two pipelines that differs, and the line that makes it."""

from __future__ import annotations

import ast
from types import ModuleType
from typing import Any

import pytest

from traindx.watch.probes import pipeline_places
from traindx.watch.probes.pipeline_places import step_that_differs

SOURCE = """
class Compose:
    def __init__(self, steps):
        self.steps = steps

class Resize:
    def __init__(self, size):
        self.size = size

class Normalize:
    def __init__(self, mean, std):
        self.mean, self.std = mean, std

class Data:
    def __init__(self, transform):
        self.transform, self.files = transform, [str(k) for k in range(99)]

train = Compose([Resize(32), Normalize((0.4, 0.5), (0.2, 0.2))])
other = Compose([Resize(32), Normalize((0.5, 0.5), (0.2, 0.2))])
same = Compose([Resize(32), train.steps[1]])
without = Compose([
    Resize(32),
])
"""


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Any:
    made = ModuleType("script")
    exec(SOURCE, vars(made))
    monkeypatch.setattr(pipeline_places, "own_sources", lambda: {"script.py": ast.parse(SOURCE)})
    return made


def line(text: str) -> int:
    return next(number for number, one in enumerate(SOURCE.splitlines(), 1) if text in one)


def test_other_numbers(module: Any) -> None:
    found = step_that_differs(module.Data(module.train), module.Data(module.other))
    assert found is not None
    assert found[:3] == ("mean of Normalize", "0.5, 0.5", "0.4, 0.5")
    assert found[3].line == line("other = Compose")


def test_a_step_that_is_left_out(module: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    tree = ast.parse("\n".join(one if "same =" not in one else "" for one in SOURCE.splitlines()))
    monkeypatch.setattr(pipeline_places, "own_sources", lambda: {"script.py": tree})
    found = step_that_differs(module.Data(module.train), module.Data(module.without))
    assert found is not None
    assert found[0] == "Normalize"
    assert found[3].line == line("without = Compose")


def test_the_same_steps(module: Any) -> None:
    assert step_that_differs(module.Data(module.train), module.Data(module.same)) is None
