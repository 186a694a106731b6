"""A figure that a line makes when the evaluation is over: a child goes on with the script to see it.

Nothing in this file may count in hundredths, which is how such figures are told from others.
"""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path
from types import CodeType
from typing import Any

import pytest
import torch
from torch import nn

from traindx.evidence.probed_definitions import DefinitionTried
from traindx.watch.probes.followed import go_on
from traindx.watch.probes.textbook import ranges, tried
from traindx.watch.probes.textbook.inline import Scope
from traindx.watch.probes.user_functions import _keep, _lines_and_values


def evaluated(net: nn.Module, batches: list[torch.Tensor], samples: bool, turn: Callable[[], None]) -> float:
    correct = 0
    with torch.no_grad():
        for index, batch in enumerate(batches):
            correct += int((net(batch)[:, 0] > -9).sum())
            if index == 1:
                turn()
    count = sum(len(one) for one in batches) if samples else len(batches)
    accuracy = correct / count
    return round(accuracy, 3)


def followed(script: Callable[[Callable[[], None]], None]) -> list[Any]:
    """What is said of lines where a child goes on from where the script calls ``turn``."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        scopes: dict[CodeType, Scope] = {}

        def look(_: list[Any]) -> list[Any]:
            calls = list(_lines_and_values(torch, None, scopes))
            records = [one for one in tried(torch, calls) if isinstance(one, DefinitionTried)]
            return [[one.key, one.holds, one.where.line if one.where else 0] for one in records]

        def end(answer: Callable[[], list[Any]]) -> None:
            os.write(writing, json.dumps(answer()).encode())
            os._exit(0)

        try:
            script(lambda: go_on(torch, end, look, left=lambda frame: _keep(scopes, frame)))
        finally:
            os._exit(1)
    os.close(writing)
    with os.fdopen(reading, "rb") as stream:
        text = stream.read()
    os.waitpid(child, 0)
    return list(json.loads(text or b"[]"))


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other tests that are loaded are no sources of this script."""
    monkeypatch.setattr(ranges, "own_sources", dict)


@pytest.mark.parametrize("samples", [False, True])
def test_a_line_that_comes_when_an_evaluation_is_over(samples: bool) -> None:
    def script(turn: Callable[[], None]) -> None:
        net = nn.Linear(3, 2)
        batches = [torch.ones(8, 3) for _ in range(4)]
        evaluated(net, batches, samples, turn)
        net(batches[0]).mean().backward()  # where training goes on, the child ends

    line = next(
        n for n, text in enumerate(Path(__file__).read_text().splitlines(), 1) if "accuracy = correct /" in text
    )
    assert ["share-within-its-range", samples, line] in followed(script)
