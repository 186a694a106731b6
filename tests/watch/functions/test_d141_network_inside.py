"""Functions with a network inside: windows, flips and padding around it that are undone, or not."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from traindx.evidence.probed_functions import WindowsTried
from traindx.finding import Standing

SOURCE = """
import torch
import torch.nn.functional as F

class Net(torch.nn.Module):
    def __init__(self, channels=1):
        super().__init__()
        self.out = torch.nn.Conv2d(1, channels, 3, padding=1)
    def forward(self, x):
        return self.out(x)

{function}

def main():
    net = Net({channels})
    image = torch.randn(2, 1, 64, 48)
    shown = predict(net, image)
    stop()
"""

WINDOWS = """
def predict(net, image, size=24, step=12):
    total, count = torch.zeros({channels}, *image.shape[-2:]), torch.zeros(1, *image.shape[-2:])
    total = total.expand(len(image), -1, -1, -1).clone()
    for row in range(0, image.shape[2] - size + step, step):
        for column in range(0, image.shape[3] - size + step, step):
            row, column = min(row, image.shape[2] - size), min(column, image.shape[3] - size)
            out = net(image[:, :, row:row + size, column:column + size])
            total[:, :, {at}:{at} + size, column:column + size] += {out}
            count[:, {at}:{at} + size, column:column + size] += 1
    return total / count.clamp(min=1)
"""

FLIPS = """
def predict(net, image):
    plain = torch.sigmoid(net(image))
    turned = torch.sigmoid(net(image.flip(3))){back}
    return (plain + turned) / 2
"""


def windows(made: Any) -> WindowsTried | None:
    return next((one for one in made.records if isinstance(one, WindowsTried)), None)


def source(function: str, channels: int = 1, **more: str) -> str:
    return SOURCE.format(function=function.format(channels=channels, **more), channels=channels)


@pytest.mark.parametrize(
    "text",
    [
        source(WINDOWS, at="max(0, row - 8)", out="out"),
        source(FLIPS, back=""),
        source("def predict(net, image):\n    return net(image.flip(2)).sigmoid()"),
    ],
)
def test_places_that_are_not_put_back(script: Callable[[str], Any], text: str) -> None:
    made = script(text)
    (finding,) = made.found("D141")
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.location.line in range(made.line("def predict"), made.line("def main"))


@pytest.mark.parametrize(
    "text",
    [
        source(WINDOWS, at="row", out="out"),
        source(WINDOWS, channels=3, at="row", out="out.softmax(1)"),
        source(FLIPS, back=".flip(3)"),
        source("def predict(net, image):\n    return (net(image).sigmoid() > 0.5).float()"),
        source("def predict(net, image):\n    return net(F.pad(image, (8, 8, 8, 8)))[:, :, 8:-8, 8:-8]"),
    ],
)
def test_places_that_are(script: Callable[[str], Any], text: str) -> None:
    made = script(text)
    record = windows(made)
    assert record is not None
    assert record.misplaced == record.vanished == 0
    assert not made.found("D141")


@pytest.mark.parametrize(
    "text",
    [
        # What the network gives says where something is fetched from.
        source(
            "def predict(net, image):\n    flow = net(image)\n    grid = F.affine_grid(torch.eye(2, 3).expand(2, 2, 3),"
            " image.shape, align_corners=False)\n    move = torch.cat([flow, 0 * flow], 1).permute(0, 2, 3, 1)\n"
            "    return F.grid_sample(image, grid + 0.05 * move, align_corners=False)"
        ),
        source("def predict(net, image):\n    return net(image * (torch.rand_like(image) > 0.5))"),  # it draws
        source("def predict(net, image):\n    return torch.stack([net(image) for _ in range(3)]).std(0)"),
        source("def predict(net, image):\n    return image - image.mean() + 0 * net(image)"),
    ],
)
def test_what_is_no_matter_of_places(script: Callable[[str], Any], text: str) -> None:
    assert not script(text).found("D141")
