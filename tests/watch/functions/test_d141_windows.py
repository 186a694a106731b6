"""Functions that cut an image into windows and put windows together, whatever they are called."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from traindx.evidence.probed_functions import WindowsTried
from traindx.finding import Standing

SOURCE = """
import torch
import torch.nn.functional as F

def cut(x, size, overlap):
    stride = int(size * (1 {cut} overlap))
    extra = [(-(side - size)) % stride for side in x.shape[1:]]
    x = F.pad(x, (0, extra[1], 0, extra[0]), mode="reflect")
    parts = x.unfold(1, size, stride).unfold(2, size, stride)
    grid = parts.shape[1:3]
    return parts.permute(1, 2, 0, 3, 4).flatten(0, 1), grid

def put_together(parts, grid, shape, overlap):
    channels, size = parts.shape[1], parts.shape[-1]
    stride = int(size * (1 - overlap))
    extent = [max(s, (n - 1) * stride + size) for s, n in zip(shape, grid)]
    total, count = torch.zeros(channels, *extent), torch.zeros(1, *extent)
    for number, part in enumerate(parts):
        row, column = {place}
        row, column = row * stride, column * stride
        total[:, row:row + size, column:column + size] += part
        count[:, row:row + size, column:column + size] += 1
    return ({out})[:, :shape[0], :shape[1]]

class Net(torch.nn.Module):
    def __init__(self):
        super().__init__()
        self.out = torch.nn.Conv2d(1, 3, 3, padding=1)
    def forward(self, x):
        return self.out(x)

def predict(net, image):
    parts, grid = cut(image, 16, 0.5)
    return put_together({between}, grid, image.shape[1:], 0.5)

def main():
    net = Net()
    image = torch.rand(1, 56, 72)
    shown = predict(net, image)
    stop()
"""

RIGHT = {
    "cut": "-",
    "place": "number // grid[1], number % grid[1]",
    "out": "total / count.clamp(min=1)",
    "between": "torch.sigmoid(net(parts))",
}


def windows(made: Any) -> WindowsTried:
    return next(one for one in made.records if isinstance(one, WindowsTried))


@pytest.mark.parametrize(
    ("change", "text"),
    [
        ({"cut": "+"}, "stride = int(size * (1 + overlap))"),
        ({"place": "number % grid[0], number // grid[0]"}, "return (total"),
    ],
)
def test_windows_that_come_back_elsewhere(script: Callable[[str], Any], change: dict[str, str], text: str) -> None:
    made = script(SOURCE.format(**{**RIGHT, **change}))
    (finding,) = made.found("D141")
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.location.line == made.line(text)


def test_overlaps_that_are_added(script: Callable[[str], Any]) -> None:
    made = script(SOURCE.format(**{**RIGHT, "out": "total"}))
    (finding,) = made.found("D141")
    assert windows(made).misplaced == 0
    assert finding.numbers["uneven"] > 0.05


@pytest.mark.parametrize(
    "between", ["torch.sigmoid(net(parts))", "net(parts).softmax(1)", "(net(parts) > 0).float()", "parts"]
)
def test_windows_that_come_back_where_they_were(script: Callable[[str], Any], between: str) -> None:
    made = script(SOURCE.format(**{**RIGHT, "between": between}))
    assert windows(made).misplaced == 0  # it was looked at
    assert not made.found("D141")


def test_random_places_crops_and_pyramids_are_left_alone(script: Callable[[str], Any]) -> None:
    near = script(
        """
        import torch
        import torch.nn.functional as F

        def sample(x, size=16, count=6):
            rows = torch.randint(0, x.shape[1] - size, (count,)).tolist()
            return torch.stack([x[:, r:r + size, r:r + size] for r in rows]), rows

        def place(parts, rows, shape):
            out = torch.zeros(1, *shape)
            for part, row in zip(parts, rows):
                out[:, row:row + 16, row:row + 16] = part
            return out

        def centre(x):
            return x[:, 8:-8, 8:-8]

        def pad_back(x, shape):
            return F.pad(x, (8, 8, 8, 8))

        def smaller(x):
            return F.avg_pool2d(x, 2)

        def larger(x):
            return F.interpolate(x[None], scale_factor=2)[0]

        def through(image):
            parts, rows = sample(image)
            return place(parts, rows, image.shape[1:]), pad_back(centre(image), 0), larger(smaller(image))

        def main():
            image = torch.rand(1, 48, 48)
            shown = through(image)
            stop()
        """
    )
    assert not near.found("D141")


def test_windows_of_tokens_and_of_attention(script: Callable[[str], Any]) -> None:
    made = script(
        """
        import torch

        def window_partition(x, size):
            b, h, w, c = x.shape
            x = x.view(b, h // size, size, w // size, size, c)
            return x.permute(0, 1, 3, 2, 4, 5).reshape(-1, size, size, c)

        def window_reverse(parts, size, h, w):
            b = parts.shape[0] // ((h // size) * (w // size))
            x = parts.view(b, h // size, w // size, size, size, -1)
            return x.permute(0, 1, 3, 2, 4, 5).reshape(b, h, w, -1)

        def attend(x):
            parts = window_partition(x, 8)
            return window_reverse(parts, 8, x.shape[1], x.shape[2])

        def main():
            x = torch.rand(2, 32, 48, 3)
            y = attend(x)
            stop()
        """
    )
    assert windows(made).misplaced == 0
    assert not made.found("D141")
