"""Functions from coordinates to maps and back, and heat maps beside images."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from traindx.evidence import Evidence
from traindx.evidence.observed_items import HeatMapsSeen
from traindx.finding import Finding, Standing
from traindx.rules import catalogue
from traindx.watch.collectors.heat_maps import ELSEWHERE, alike

SOURCE = """
import numpy as np
import torch

def heat_map(size, points, sigma):
    h, w = size
    rows, columns = torch.arange(h).float(), torch.arange(w).float()
    {grid}
    out = torch.zeros(h, w)
    for x, y in points:
        out = torch.maximum(out, torch.exp(-((xx - x) ** 2 + (yy - y) ** 2) / (2 * sigma**2)))
    return out

def read_peaks(maps):
    w = maps.shape[-1]
    index = maps.flatten(1).argmax(-1)
    return torch.stack([{order}], -1).float()

def box_mask(box, size):
    x1, y1, x2, y2 = box
    mask = np.zeros(size)
    {slices} = 1
    return mask

def main():
    points = torch.tensor([[8.0, 21.0], [25.0, 12.0]])
    maps = torch.stack([heat_map((40, 40), point[None], 2.0) for point in points])
    back = read_peaks(maps)
    mask = box_mask([5, 10, 12, 22], (40, 40))
    stop()
"""
GRID = 'yy, xx = torch.meshgrid(rows, columns, indexing="ij")'
OTHER = 'xx, yy = torch.meshgrid(columns, rows, indexing="ij")'
XY, YX = "index % w, index // w", "index // w, index % w"
SLICES = "mask[y1:y2, x1:x2]"


def source(grid: str = GRID, order: str = XY, slices: str = SLICES) -> str:
    return SOURCE.format(grid=grid, order=order, slices=slices)


def test_a_grid_in_the_other_order(script: Callable[[str], Any]) -> None:
    faulty = script(source(grid=OTHER))
    findings = faulty.found("D145")
    finding = next(one for one in findings if "heat_map" in one.message)
    assert finding.standing is Standing.SUSPECTED
    assert finding.location.line == faulty.line("xx, yy = torch.meshgrid")
    shown = HeatMapsSeen(dataset="D", items=60, landmarks=2, own=0.03, transposed=0.4, mirrored=0.02)
    assert all(one.standing is Standing.DEMONSTRATED for one in faulty.found("D145", shown))


def test_peaks_that_are_read_rows_first(script: Callable[[str], Any]) -> None:
    faulty = script(source(order=YX))
    assert any("heat_map" in one.message for one in faulty.found("D145"))


def test_a_mask_whose_rows_are_called_x(script: Callable[[str], Any]) -> None:
    """By itself it may be a convention; beside a function that reads places the other way it is none."""
    faulty = script(source(slices="mask[x1:x2, y1:y2]"))
    finding = next(one for one in faulty.found("D145") if "box_mask" in one.message)
    assert "at odds with its own names" in finding.message


@pytest.mark.parametrize("grid", [GRID, 'xx, yy = torch.meshgrid(columns, rows, indexing="xy")'])
def test_functions_that_agree(script: Callable[[str], Any], grid: str) -> None:
    assert script(source(grid=grid)).found("D145") == []


def test_rows_first_everywhere_is_a_convention(script: Callable[[str], Any]) -> None:
    everywhere = source(grid=OTHER, order=YX, slices="mask[x1:x2, y1:y2]")
    assert script(everywhere).found("D145") == []


# -- heat maps beside images -----------------------------------------------------------------------------------------


def rule(**shares: float) -> list[Finding]:
    evidence = Evidence()
    given = {"own": 0.04, "transposed": 0.03, "mirrored": 0.03, **shares}
    evidence.add(HeatMapsSeen(dataset="D", items=60, landmarks=2, **given))
    return catalogue()["D145"].check(evidence)


def test_images_that_look_alike_at_the_transposed_place() -> None:
    (finding,) = rule(transposed=0.5)
    assert finding.variant == "maps-transposed"
    assert finding.standing is Standing.DEMONSTRATED
    assert rule(own=0.5) == []
    assert rule(own=0.3, transposed=0.5) == []  # landmarks that hardly move, in anatomy that hardly does
    assert rule() == []


def test_the_mean_patch_keeps_what_is_alike() -> None:
    """Against what is drawn: one disc at a place that varies, in noise."""
    rng = np.random.default_rng(0)
    kept: dict[str, dict[int, list[Any]]] = {way: {0: []} for way in ELSEWHERE}
    rows, columns = np.mgrid[:40, :40]
    for _ in range(80):
        row, column = rng.uniform(6, 33, 2)
        image = ((rows - row) ** 2 + (columns - column) ** 2 < 6) + 0.2 * rng.normal(size=(40, 40))
        for way, move in ELSEWHERE.items():
            r, c = (round(part) for part in move(column, row, (40, 40)))  # the map has them exchanged
            kept[way][0].append(image[r - 3 : r + 4, c - 3 : c + 4])
    kept = {way: {0: [one for one in several[0] if one.shape == (7, 7)]} for way, several in kept.items()}
    assert alike(kept["transposed"]) > 0.5
    assert max(alike(kept[way]) for way in ("own", "mirrored", "upside-down")) < 0.1
