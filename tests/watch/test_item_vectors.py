"""Two frames and the motion between them: augmentations that move vectors with their frames, and those that do not."""

from __future__ import annotations

from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch

from traindx.evidence import Evidence
from traindx.evidence.probed_functions import VectorsTried
from traindx.finding import Finding, Standing
from traindx.rules import catalogue
from traindx.watch.probes.item_vectors import vectors_tried

SOURCE = """
import random
import numpy as np
import torch
from scipy import ndimage

SIZE = 40

def pair(rng):
    rows, columns = np.mgrid[:SIZE, :SIZE].astype(float)
    shift, strain = rng.uniform(-3, 3, 2), rng.normal(0, 1.0, (2, 2))
    x, y = (columns - 20) / SIZE, (rows - 20) / SIZE
    flow = np.stack([shift[0] + strain[0, 0] * x + strain[0, 1] * y, shift[1] + strain[1, 0] * x + strain[1, 1] * y])
    speckle = ndimage.gaussian_filter(rng.normal(0, 1, (SIZE + 24, SIZE + 24)), 1.2)
    second = speckle[12:12 + SIZE, 12:12 + SIZE]
    first = ndimage.map_coordinates(speckle, [rows + 12 + flow[1], columns + 12 + flow[0]], order=1)
    return first, second, flow

class Pairs:
    def __init__(self, change=None, written=lambda flow: flow):
        rng = np.random.default_rng(0)
        self.items = [(a, b, written(flow)) for a, b, flow in (pair(rng) for _ in range(6))]
        self.change = change

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        first, second, flow = self.items[index]
        if self.change is not None:
            first, second, flow = self.change(first, second, flow)
        return torch.tensor(np.stack([first, second])), torch.tensor(np.ascontiguousarray(flow))

def mirrored(first, second, flow):
    if random.random() < 0.5:
        first, second, flow = first[:, ::-1], second[:, ::-1], flow[:, :, ::-1]
        return first, second, flow * np.array([-1, 1])[:, None, None]
    return first, second, flow

def mirrored_alone(first, second, flow):
    if random.random() < 0.5:
        first, second = first[:, ::-1], second[:, ::-1]
        flow = flow[:, :, ::-1]
    return first, second, flow

def turned(first, second, flow, way=1):
    angle = random.uniform(-50, 50)
    first, second = (ndimage.rotate(one, angle, reshape=False, order=1) for one in (first, second))
    u, v = (ndimage.rotate(one, angle, reshape=False, order=1) for one in flow)
    c, s = np.cos(np.deg2rad(angle)), way * np.sin(np.deg2rad(angle))
    flow = np.stack([c * u + s * v, -s * u + c * v])
    return first, second, flow

def turned_wrongly(first, second, flow):
    return turned(first, second, flow, -1)

def brighter(first, second, flow):
    return 2 * first + 1, 2 * second + random.random() * 0.01, flow

def rows_first(flow):
    return flow[::-1].copy()

class Pictures(Pairs):
    '''Two pictures and a map of two channels that is no motion.'''
    def __init__(self, change=None):
        super().__init__(change)
        rng = np.random.default_rng(1)
        self.items = [(a, b, rng.normal(0, 1, flow.shape)) for a, b, flow in self.items]
"""


@pytest.fixture
def module(tmp_path: Path) -> Any:
    """The source as a module of the user's."""
    path = tmp_path / "script.py"
    path.write_text(SOURCE)
    made = ModuleType("script")
    exec(compile(SOURCE, str(path), "exec"), vars(made))
    return made


def seen(dataset: Any) -> VectorsTried | None:
    """What is measured; the data set belongs to the test."""
    return next((one for one in vectors_tried(torch, dataset) if isinstance(one, VectorsTried)), None)


def said(record: VectorsTried) -> list[Finding]:
    evidence = Evidence()
    evidence.add(record)
    return catalogue()["D119"].check(evidence)


def line(text: str) -> int:
    return next(number for number, one in enumerate(SOURCE.splitlines(), 1) if text in one)


@pytest.mark.parametrize(
    ("change", "text", "how"),
    [
        ("turned_wrongly", "flow = np.stack([c * u", "degrees"),
        ("mirrored_alone", "flow = flow[:, :, ::-1]", "mirrored"),
    ],
)
def test_vectors_that_stay_behind(module: Any, change: str, text: str, how: str) -> None:
    record = seen(module.Pairs(getattr(module, change)))
    assert record is not None
    (finding,) = said(record)
    assert finding.standing is Standing.DEMONSTRATED
    assert how in finding.message
    assert finding.location is not None
    assert finding.location.line == line(text)


@pytest.mark.parametrize("change", ["mirrored", "turned", "brighter"])
def test_vectors_that_are_moved_with_their_frames(module: Any, change: str) -> None:
    record = seen(module.Pairs(getattr(module, change)))
    assert record is not None
    assert record.draws >= 4
    assert not said(record)


def test_rows_first_and_no_motion_at_all(module: Any) -> None:
    record = seen(module.Pairs(written=module.rows_first))
    assert record is not None
    assert not record.broken
    assert seen(module.Pictures(module.mirrored_alone)) is None
