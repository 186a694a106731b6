"""Image, mask, boxes and landmarks that part on their way into a batch (D106, D119, D136), and those that do not."""

from __future__ import annotations

import pytest

from rules.watched.conftest import Examined
from traindx.finding import Standing

SCRIPT = """
import random
import numpy as np
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

random.seed(0)
torch.manual_seed(0)
SIZE = 24

PARTS

class Data(Dataset):
    def __init__(self, seed, move):
        rng = np.random.default_rng(seed)
        self.items, self.move = [made(rng) for _ in range(48)], move

    def __len__(self):
        return len(self.items)

    def __getitem__(self, index):
        image, label = self.items[index]
        if self.move:
            image, label = moved(image, label)
        return torch.from_numpy(image.copy()).float()[None], torch.from_numpy(label.copy())

def joined(batch):
    labels = [one[1] for one in batch]
    return torch.stack([one[0] for one in batch]), labels if labels[0].shape[-1] == 4 else torch.stack(labels)

train = DataLoader(Data(0, True), batch_size=8, shuffle=True, collate_fn=joined)
valid = DataLoader(Data(1, False), batch_size=8, collate_fn=joined)
model = nn.Sequential(nn.Conv2d(1, 4, 3, padding=1), nn.ReLU(), nn.Flatten(), nn.Linear(4 * SIZE * SIZE, 1))
optimizer = torch.optim.Adam(model.parameters(), 1e-3)
for epoch in range(3):
    for images, labels in train:
        wanted = torch.tensor([float(one.float().mean()) for one in labels])[:, None]
        optimizer.zero_grad()
        nn.functional.mse_loss(model(images), wanted).backward()
        optimizer.step()
    with torch.no_grad():
        print(epoch, sum(float(model(images).mean()) for images, _ in valid))
"""

BOXES = """
def made(rng):
    x, y, w, h = rng.uniform(1, 10, 2).tolist() + rng.uniform(4, 9, 2).tolist()
    return rng.normal(size=(SIZE, SIZE)), np.array([[x, y, x + w, y + h]], np.float32)

def moved(image, boxes):
    boxes = boxes.copy()
    if random.random() < 0.5:
        image = image[:, ::-1]
        boxes[:, 0::2] = SIZE - boxes[:, {order}]  # HERE
    return image, boxes
"""

# centre and size are no corners, whatever their differences
CENTRES = """
def made(rng):
    return rng.normal(size=(SIZE, SIZE)), np.concatenate([rng.uniform(6, 18, 2), rng.uniform(4, 20, 2)])[None]

def moved(image, boxes):
    if random.random() < 0.5:
        image = image[:, ::-1]
        boxes = np.concatenate([SIZE - boxes[:, :1], boxes[:, 1:]], 1)
    return image, boxes
"""

MASKS = """
def made(rng):
    grid = np.stack(np.meshgrid(np.arange(SIZE), np.arange(SIZE), indexing="ij"), -1)
    mask = (((grid - rng.uniform(5, 12, 2)) ** 2).sum(-1) < 16).astype(np.int64)
    return mask + 0.2 * rng.normal(size=mask.shape), mask

def flipped(one):
    return one[:, ::-1] if random.random() < 0.6 else one

def moved(image, mask):
    image = flipped(image)
    {mask}
    return image, mask
"""
APART = "mask = flipped(mask)  # HERE"
TOGETHER = "image, mask = (image[::-1], mask[::-1]) if random.random() < 0.5 else (image, mask)"

SIDES = """
def made(rng):
    points = np.array([[4, 5], [20, 5], [7, 18], [17, 18]], np.float32) + rng.normal(0, 0.4, (4, 2)).astype(np.float32)
    return rng.normal(size=(SIZE, SIZE)), points

def moved(image, points):
    points = points + 1
    if random.random() < 0.5:
        image = image[:, ::-1]
        points = np.float32([SIZE, 0]) + points * np.float32([-1, 1])  # HERE
        {exchange}
    return image, points
"""
# a figure without partners: mirrored, it is another figure, and its landmarks keep their names
HAND = SIDES.format(exchange="pass").replace(
    "[[4, 5], [20, 5], [7, 18], [17, 18]]", "[[3, 3], [9, 4], [16, 9], [5, 20]]"
)

FAULTY = [
    ("D106", BOXES.format(order="0::2")),
    ("D119", MASKS.format(mask=APART).replace("image = flipped(image)", "image = flipped(image)  # HERE")),
    ("D136", SIDES.format(exchange="pass")),
]
SILENT = [
    ("D106", BOXES.format(order="2::-2")),
    ("D106", CENTRES),
    ("D119", MASKS.format(mask=TOGETHER).replace("image = flipped(image)", "pass")),
    ("D136", SIDES.format(exchange="points = points[[1, 0, 3, 2]]")),
    ("D136", HAND),
]


def written(parts: str) -> str:
    return SCRIPT.replace("PARTS", parts.strip())


@pytest.mark.parametrize(("code", "parts"), FAULTY, ids=[code for code, _ in FAULTY])
def test_the_line_is_found(code: str, parts: str, examined: Examined) -> None:
    found = [f for f in examined(written(parts)) if f.code == code]
    assert [f.standing for f in found] == [Standing.DEMONSTRATED]
    lines = written(parts).lstrip("\n").splitlines()
    assert found[0].location is not None
    assert "# HERE" in lines[found[0].location.line - 1], found[0].location


@pytest.mark.parametrize(("code", "parts"), SILENT, ids=["corners", "centres", "together", "exchanged", "hand"])
def test_healthy_and_near_misses(code: str, parts: str, examined: Examined) -> None:
    assert [f.message for f in examined(written(parts)) if f.code in ("D106", "D119", "D136")] == []


LABELS = """
import numpy as np
import torch
from scipy import ndimage
from torch import nn

torch.manual_seed(0)
rng = np.random.default_rng(0)
grid = np.stack(np.meshgrid(np.arange(14), np.arange(14), indexing="ij"), -1)
maps = [2 * (((grid - rng.uniform(5, 9, 2)) ** 2).sum(-1) < 14).astype(np.uint8) for _ in range(24)]
for one in maps:
    one[:2, :2] = 1
sized = [ndimage.zoom(GIVEN, 2, order=ORDER) for one in maps]
labels = torch.from_numpy(np.stack(sized)).round().long()
images = labels[:, None] + 0.3 * torch.randn(24, 1, 28, 28)
model = nn.Conv2d(1, 3, 3, padding=1)
optimizer = torch.optim.Adam(model.parameters(), 1e-2)
for step in range(24):
    pick = torch.randperm(24)[:6]
    optimizer.zero_grad()
    loss = nn.functional.cross_entropy(model(images[pick]), labels[pick])
    loss.backward()
    optimizer.step()
print(loss.item())
"""


@pytest.mark.parametrize(
    ("given", "order", "found"),
    [
        ("one", "1", True),
        ("one.astype(np.float64)", "3", True),
        ("one", "0", False),
        ("(one > 1).astype(np.float64)", "1", False),  # a mask: a threshold brings it back
        ("one * 40.0", "1", False),  # grey values beyond any class
    ],
)
def test_interpolated_labels(given: str, order: str, found: bool, examined: Examined) -> None:
    script = LABELS.replace("GIVEN", given).replace("ORDER", order)
    if "40" in given:
        script = (
            script.replace(".round().long()", "[:, :] > 20")
            .replace("= labels[", "= labels.float()[")
            .replace("labels[pick])", "labels[pick].long())")
        )
    said = [f for f in examined(script) if f.code == "D137"]
    assert bool(said) is found
    if found:
        assert said[0].standing is Standing.DEMONSTRATED
        assert said[0].location is not None
        assert (
            said[0].location.line
            == script.lstrip("\n")
            .splitlines()
            .index(f"sized = [ndimage.zoom({given}, 2, order={order}) for one in maps]")
            + 1
        )
