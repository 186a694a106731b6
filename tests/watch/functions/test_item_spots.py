"""Items made from pictures with one spot."""

from __future__ import annotations

import random
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from torch.utils.data import Dataset, Subset, TensorDataset

from traindx.evidence.probed_functions import MovedTried
from traindx.watch.probes.item_spots import items_tried

Pair = tuple[torch.Tensor, torch.Tensor]


def flip_both(image: torch.Tensor, mask: torch.Tensor) -> Pair:
    return (image.flip(-1), mask.flip(-1)) if random.random() < 0.5 else (image, mask)


def flip_each(image: torch.Tensor, mask: torch.Tensor) -> Pair:
    if random.random() < 0.5:
        image = image.flip(-1)
    if random.random() < 0.5:
        mask = mask.flip(-1)
    return image, mask


def grey_values(image: torch.Tensor, mask: torch.Tensor) -> Pair:
    return -1.3 * image + 0.02 * torch.randn_like(image) + random.random(), mask


def turn_mask(image: torch.Tensor, mask: torch.Tensor) -> Pair:
    return image, mask.transpose(-1, -2)


def smaller_mask(image: torch.Tensor, mask: torch.Tensor) -> Pair:
    return image, mask[..., ::2, ::2]


class Kept(Dataset[Pair]):
    """Pairs in memory."""

    def __init__(self, augment: Callable[..., Pair]) -> None:
        gen = torch.Generator().manual_seed(0)
        self.images = torch.randn(4, 1, 32, 32, generator=gen)
        self.masks = [(one > 0).long() for one in self.images]
        self.augment = augment

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Pair:
        image, mask = self.images[index], self.masks[index]
        image, mask = self.augment(image, mask)
        return (image - image.mean()) / image.std(), mask


class Files(Dataset[Pair]):
    """Pairs in files."""

    def __init__(self, folder: Path, augment: Callable[..., Pair]) -> None:
        rng = np.random.default_rng(0)
        self.folder, self.augment = folder, augment
        for number in range(4):
            image = rng.integers(0, 255, (32, 32), dtype=np.uint8)
            Image.fromarray(image).save(folder / f"{number}.png")
            np.save(folder / f"{number}.npy", image > 128)

    def __len__(self) -> int:
        return 4

    def __getitem__(self, index: int) -> Pair:
        image = torch.from_numpy(np.array(Image.open(self.folder / f"{index}.png"))).float()[None] / 255
        return self.augment(image, torch.from_numpy(np.load(self.folder / f"{index}.npy")).long()[None])


def tried(dataset: Any) -> MovedTried | None:
    found = list(items_tried(torch, [dataset]))
    return found[0] if found else None  # type: ignore[return-value]


@pytest.mark.parametrize("augment", [flip_each, turn_mask])
@pytest.mark.parametrize("make", ["kept", "subset", "files"])
def test_a_mask_that_goes_another_way(make: str, augment: Callable[..., Pair], tmp_path: Path) -> None:
    dataset: Any = Files(tmp_path, augment) if make == "files" else Kept(augment)
    before = [one.clone() for one in dataset[0]] if augment is turn_mask else []
    record = tried(Subset(dataset, [2, 3, 1]) if make == "subset" else dataset)
    assert record is not None
    assert record.apart >= 0.2 * record.tries
    if augment is flip_each:
        assert record.where is not None
        lines = Path(__file__).read_text().splitlines()
        assert "flip(-1)" in lines[record.where.line - 1]
    for kept, now in zip(before, dataset[0] if before else [], strict=True):  # all is put back
        assert torch.equal(kept, now)


@pytest.mark.parametrize("augment", [flip_both, grey_values, smaller_mask])
def test_a_mask_that_stays_on_its_image(augment: Callable[..., Pair], tmp_path: Path) -> None:
    for dataset in (Kept(augment), Files(tmp_path, augment)):
        record = tried(dataset)
        assert record is not None
        assert record.tries >= 5
        assert record.apart == 0


def test_items_that_are_no_image_and_mask_are_not_tried() -> None:
    assert tried(TensorDataset(torch.randn(5, 1, 32, 32), torch.randn(5, 1, 32, 32))) is None
    assert tried(TensorDataset(torch.randn(5, 1, 32, 32), torch.arange(5))) is None
    pairs = TensorDataset(torch.randn(5, 1, 32, 32), (torch.randn(5, 1, 32, 32) > 0).long())
    record = tried(pairs)
    assert record is not None
    assert record.apart == 0


class Landmarks(Dataset[Pair]):
    """Images with keypoints, boxes, or two numbers that are something else."""

    def __init__(self, kind: str, both: bool) -> None:
        gen = torch.Generator().manual_seed(0)
        self.both = both
        self.images = torch.rand(6, 1, 40, 40, generator=gen)
        self.keypoints = 4 + 30 * torch.rand(6, 3, 2, generator=gen)
        if kind == "boxes":
            self.keypoints = torch.cat([self.keypoints, self.keypoints + 5], -1)
        elif kind == "shares":
            self.keypoints = self.keypoints / 40
        elif kind == "rows first":
            self.keypoints = self.keypoints.flip(-1)
        self.kind = kind

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Pair:
        image, points = self.images[index], self.keypoints[index].clone()
        if random.random() < 0.5:
            image = image.flip(-1)
            if self.both and self.kind == "boxes":
                points[:, [0, 2]] = 39 - points[:, [2, 0]]
            elif self.both:
                x = 1 if self.kind == "rows first" else 0
                points[:, x] = (1 if self.kind == "shares" else 39) - points[:, x]
        return image, points


class Ages(Dataset[Pair]):
    """Images with two figures that stay what they are when the image is flipped."""

    def __init__(self) -> None:
        self.images = torch.rand(6, 1, 40, 40)
        self.years = 40 * torch.rand(6, 2)

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Pair:
        image = self.images[index]
        return (image.flip(-1) if random.random() < 0.5 else image), self.years[index]


@pytest.mark.parametrize("kind", ["keypoints", "rows first", "shares", "boxes"])
def test_points_and_boxes_follow_their_image_or_do_not(kind: str) -> None:
    record = tried(Landmarks(kind, both=False))
    assert record is not None
    assert record.part == ("boxes" if kind == "boxes" else "points")
    assert 0.2 * record.tries <= record.apart <= 0.8 * record.tries
    record = tried(Landmarks(kind, both=True))
    assert record is not None
    assert record.apart == 0


def test_two_numbers_that_are_no_place() -> None:
    assert tried(Ages()) is None


class Drawn(Dataset[Pair]):
    """Slices that are drawn when they are asked for: there is nothing to put a spot into."""

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> Pair:
        rng = np.random.default_rng(index)
        rows, columns = np.mgrid[:40, :40]
        row, column = rng.uniform(14, 26, 2)
        organ = np.hypot(rows - row, columns - column) < 4
        image = 0.5 * organ + (np.hypot(rows - 4, columns - rng.uniform(4, 36)) < 4) + 0.02 * rng.normal(size=(40, 40))
        if random.random() < 0.5:
            image, organ = np.rot90(image), np.rot90(organ)
        return torch.from_numpy(image.copy()).float()[None], torch.from_numpy(organ.copy()).long()


def test_what_was_not_put_in_says_nothing() -> None:
    assert tried(Drawn()) is None
