"""Functions that move an image and its mask."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from traindx.finding import Standing

SOURCE = """
import random
import numpy as np
import torch
from PIL import Image

class Zoom:
    def perform(self, images):
        w, h = images[0].size
        {outside}
        def do(image):
            {inside}
            part = image.crop((left, top, left + 30, top + 30))
            return part.resize((w, h), Image.BILINEAR)
        return [do(image) for image in images]

class Slices:
    def __init__(self):
        rng = np.random.default_rng(0)
        self.images = [Image.fromarray(rng.integers(0, 255, (48, 48), dtype=np.uint8)) for _ in range(4)]
        self.masks = [image.point(lambda value: 255 * (value > 128)) for image in self.images]
        self.zoom = Zoom()

    def __getitem__(self, i):
        image, mask = self.zoom.perform([self.images[i], self.masks[i]])
        return np.asarray(image) / 255, np.asarray(mask) > 128

def make(data, i):
    return data[i]

def main():
    data = Slices()
    items = [make(data, i) for i in range(3)]
    stop()
"""
DRAW = "left, top = random.randint(0, w - 30), random.randint(0, h - 30)"


def test_a_place_that_is_drawn_for_each_picture(script: Callable[[str], Any]) -> None:
    faulty = script(SOURCE.format(outside="pass", inside=DRAW))
    (finding,) = faulty.found("D119")
    assert finding.standing is Standing.DEMONSTRATED
    assert finding.location.line == faulty.line("return [do(image)")
    assert finding.numbers["distance"] > 3


def test_a_place_that_is_drawn_once(script: Callable[[str], Any]) -> None:
    assert not script(SOURCE.format(outside=DRAW, inside="pass")).found("D119")


ARRAYS = """
import random
import numpy as np
import torch

def augment({names}):
    {body}

def main():
    rng = np.random.default_rng(0)
    image = torch.from_numpy(rng.normal(size=(1, 40, 40))).float()
    other = torch.from_numpy(rng.normal(size=(1, 40, 40))).float()
    mask = (image > 0).float()
    out = augment(image, {second})
    stop()
"""
FLIP = "if random.random() < 0.5:\n        {first} = {first}.flip(-1)"
BOTH = """both = torch.cat([image, mask])
    if random.random() < 0.5:
        both = both.flip(-1)
    return both[:1], both[1:]"""


@pytest.mark.parametrize(
    ("names", "second", "body", "apart"),
    [
        ("image, mask", "mask", FLIP.format(first="image") + "\n    return image, mask", True),
        ("image, mask", "mask", "return image * 1.3 + torch.randn_like(image) * 0.02, mask", False),
        ("image, mask", "mask", BOTH, False),
        # two images of a pair that is deformed on purpose, as for registration: no mask among them
        ("moving, fixed", "other", FLIP.format(first="moving") + "\n    return moving, fixed", False),
    ],
)
def test_functions_of_an_image_and_something_else(
    script: Callable[[str], Any], names: str, second: str, body: str, apart: bool
) -> None:
    found = script(ARRAYS.format(names=names, second=second, body=body)).found("D119")
    assert bool(found) is apart


ONE_BY_ONE = """
import random
import numpy as np
import torch

def shift(picture{more}):
    by = random.randint(-8, 8){given}
    return np.roll(picture, by, axis=1)

class Data:
    def __init__(self):
        self.transform = Roll()
        self.image = np.random.default_rng(0).normal(size=(40, 40))
        self.mask = (self.image > 0).astype(np.int64)

    def __getitem__(self, i):
        {body}
        return image, mask

class Roll:
    def __call__(self, picture):
        return np.roll(picture, random.randint(-8, 8), axis=0)

def make(data, i):
    return data[i]

def main():
    data = Data()
    item = make(data, 0)
    stop()
"""


@pytest.mark.parametrize(
    ("body", "apart"),
    [
        ("image = shift(self.image)\n        mask = shift(self.mask)", True),
        ("image = self.transform(self.image)\n        mask = self.transform(self.mask)", True),
        ("random.seed(i)\n        image = shift(self.image)\n        random.seed(i); mask = shift(self.mask)", False),
        ("image, mask = np.flip(self.image), np.flip(self.mask)", False),
        (
            "both = shift(np.stack([self.image, self.mask], -1))\n        image, mask = both[..., 0], both[..., 1]",
            False,
        ),
    ],
)
def test_functions_that_are_called_for_one_after_the_other(
    script: Callable[[str], Any], body: str, apart: bool
) -> None:
    faulty = script(ONE_BY_ONE.format(body=body, more="", given=""))
    findings = faulty.found("D119")
    assert bool(findings) is apart
    if apart:
        assert {one.location.line for one in findings} == {faulty.line("mask = s")}
