"""A marker with a box is sent along the path of the data, an image twice, and real grey values are followed."""

from __future__ import annotations

import random
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import torch

from traindx.checks.base import CheckContext, check
from traindx.core.frames import defined_at
from traindx.core.undisturbed import undisturbed
from traindx.evidence.data_path import InputWindow, MarkerOnPath, PathRepeats

if TYPE_CHECKING:
    from torch import Tensor

    from traindx.case_parts import DataPath

DRAWS = 12
IMAGES = 8
SIDE = 0.14  # of the image: 2 % of its area, so that a percentile normalisation keeps it
PLACES = ((0.2, 0.3), (0.7, 0.25), (0.25, 0.65), (0.65, 0.7))  # upper left corners, none symmetric


@check(
    "data-path",
    "do image and boxes stay together, and what is left of the grey values",
    needs=("data_path",),
    gives=(InputWindow, MarkerOnPath, PathRepeats),
)
def data_path(ctx: CheckContext) -> None:
    """Follow a marker in both splits, repeat the validation path, and count what arrives of real grey values."""
    path = ctx.case.data_path
    assert path is not None
    for split in ("train", "val"):
        _marker(ctx, path, split)
    _repeats(ctx, path)
    _window(ctx, path)


def _marker(ctx: CheckContext, path: DataPath, split: str) -> None:
    height, width = path.raw.shape[-2:]
    shares: list[float] = []
    mirrored = 0
    for number in range(DRAWS):
        x0, y0 = PLACES[number % len(PLACES)]
        image = torch.zeros(1, height, width)
        rows = slice(round(y0 * height), round((y0 + SIDE) * height))
        columns = slice(round(x0 * width), round((x0 + SIDE) * width))
        image[:, rows, columns] = path.white
        box = torch.tensor([[columns.start / width, rows.start / height, columns.stop / width, rows.stop / height]])
        with undisturbed(ctx.seed + number):
            arrived, boxes = path.apply(image.to(path.raw.dtype), box, split)
        if not len(boxes):
            continue  # it was moved out of the image, and its box with it
        light = arrived[0].double() - float(arrived.min())
        light = light * (light > 0.5 * light.max())
        place = [float(value) for value in torch.as_tensor(boxes)[0]]
        share = _inside(light, place)
        shares.append(share)
        if share < 0.5 and _inside(light, [1 - place[2], place[1], 1 - place[0], place[3]]) >= 0.5:
            mirrored += 1
    if shares:
        ctx.record(
            MarkerOnPath(
                where=defined_at(path.apply),
                split=split,
                draws=len(shares),
                misplaced=sum(share < 0.5 for share in shares),
                inside=sum(shares) / len(shares),
                mirrored=mirrored,
            )
        )


def _inside(light: Tensor, box: list[float]) -> float:
    """Share of the light within a box, one pixel of slack on each side."""
    height, width = light.shape
    x0, y0, x1, y1 = box
    rows = slice(max(0, int(y0 * height) - 1), int(np.ceil(y1 * height)) + 1)
    columns = slice(max(0, int(x0 * width) - 1), int(np.ceil(x1 * width)) + 1)
    return float(light[rows, columns].sum() / light.sum().clamp_min(1e-12))


def _repeats(ctx: CheckContext, path: DataPath) -> None:
    image = path.raw[0]
    none = torch.zeros(0, 4)
    results = []
    for number in range(4):
        with undisturbed(ctx.seed + number):
            random.random()
            results.append(path.apply(image, none, "val")[0].double())
    spread = float(results[0].std().clamp_min(1e-12))
    changes = [
        float((one - results[0]).abs().mean()) / spread if one.shape == results[0].shape else float("inf")
        for one in results[1:]
    ]
    ctx.record(
        PathRepeats(
            where=defined_at(path.apply),
            split="val",
            draws=len(results),
            differing=sum(change > 1e-6 for change in changes),
            change=max(changes),
        )
    )


def _window(ctx: CheckContext, path: DataPath) -> None:
    constant, before, levels, levels_before = [], [], [], []
    images = path.raw[:IMAGES]
    for image in images:
        with undisturbed(ctx.seed):
            arrived = path.apply(image, torch.zeros(0, 4), "val")[0]
        constant.append(_at_ends(arrived))
        before.append(_at_ends(image))
        levels.append(len(torch.unique(arrived)))
        levels_before.append(len(torch.unique(image)))
    ctx.record(
        InputWindow(
            where=defined_at(path.apply),
            images=len(images),
            constant=median(constant),
            constant_before=median(before),
            levels=round(median(levels)),
            levels_before=round(median(levels_before)),
        )
    )


def _at_ends(image: Tensor) -> float:
    return float(((image == image.min()) | (image == image.max())).float().mean())
