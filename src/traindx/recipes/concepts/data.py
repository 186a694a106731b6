"""Batches: images, labels, boxes and masks; training in a seeded order with augmentation, validation without."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import TypedDict

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from traindx.recipes.concepts.boxes import Boxes, masks, moved
from traindx.recipes.concepts.pipeline import IDENTITY, Augmentation, drawn, normalise, to_network, warp
from traindx.recipes.concepts.radiographs import Radiographs


class Batch(TypedDict):
    """A batch.

    Attributes:
        image: Network values ``(B, C, S, S)``.
        label: 1, 0, or NaN where it is not known, ``(B, K)``.
        boxes: Boxes of each image, moved with it.
        masks: Share of each map cell that the boxes of a concept cover, ``(B, K, h, w)``.
        task: Class, -1 where it is not known, ``(B,)``.
        index: Position in the set, ``(B,)``.
    """

    image: Tensor
    label: Tensor
    boxes: list[Boxes]
    masks: Tensor
    task: Tensor
    index: Tensor


class Dataset:
    """Normalised images in memory, handed out as batches.

    Args:
        data: The images.
        size: Side of the network's input in pixels.
        map_size: Rows and columns of the network's map.
    """

    def __init__(self, data: Radiographs, *, size: int, map_size: tuple[int, int]) -> None:
        self.data, self.size, self.map_size = data, size, map_size
        self.images = torch.stack([normalise(channels_first(one)) for one in data.images])
        self.labels = torch.from_numpy(data.labels)
        self.task = torch.from_numpy(data.task)

    def __len__(self) -> int:
        return len(self.data)

    def batch(self, indices: list[int], augmentation: Augmentation | None = None, *seed: int) -> Batch:
        """Some images; augmented where an augmentation is given, by draws of the seeds and the image alone."""
        draws = [IDENTITY if augmentation is None else drawn(augmentation, *seed, index) for index in indices]
        boxes = [
            self.data.boxes[index] if draw is IDENTITY else moved(self.data.boxes[index], draw.matrix)
            for index, draw in zip(indices, draws, strict=True)
        ]
        return Batch(
            image=to_network(warp(self.images[indices], draws, self.size)),
            label=self.labels[indices],
            boxes=boxes,
            masks=masks(boxes, len(self.data.concepts), self.map_size),
            task=self.task[indices],
            index=torch.tensor(indices),
        )


def channels_first(image: NDArray[np.generic]) -> Tensor:
    """``(H, W)`` or ``(H, W, C)`` as a tensor ``(C, H, W)``."""
    values = torch.from_numpy(image.astype(np.float32))
    return values[None] if values.ndim == 2 else values.movedim(-1, 0)


def shown(image: Tensor) -> NDArray[np.float32]:
    """An image ``(C, S, S)`` in [0, 1] as it is drawn: ``(S, S)``, or ``(S, S, 3)`` in colour."""
    values: NDArray[np.float32] = (image[0] if len(image) == 1 else image.movedim(0, -1)).numpy().astype(np.float32)
    return values


class TrainBatches:
    """Training batches of one epoch after another, the same in every process.

    Ranks share the permutation of the epoch and take every ``world``-th image of it, so no image is seen by two of
    them; batches without a positive are as good as others.

    Args:
        dataset: The images.
        batch_size: Images a batch and rank.
        augmentation: None for none.
        seed: Seed of order and draws.
        rank: This process.
        world: Number of processes.
    """

    def __init__(
        self,
        dataset: Dataset,
        batch_size: int,
        augmentation: Augmentation | None,
        *,
        seed: int = 0,
        rank: int = 0,
        world: int = 1,
    ) -> None:
        self.dataset, self.batch_size, self.augmentation, self.seed = dataset, batch_size, augmentation, seed
        self.rank, self.world = rank, world
        self.epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Choose the epoch whose order and draws the next pass takes."""
        self.epoch = epoch

    def __len__(self) -> int:
        share = len(self.dataset) // self.world
        return max(1, share // self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        order = np.random.default_rng([self.seed, self.epoch]).permutation(len(self.dataset)).tolist()
        mine = order[self.rank :: self.world]
        for number in range(len(self)):  # the remainder of an epoch waits for another permutation
            indices = mine[number * self.batch_size : (number + 1) * self.batch_size]
            yield self.dataset.batch(indices, self.augmentation, self.seed, self.epoch)


class EvalBatches:
    """All images in order, never augmented."""

    def __init__(self, dataset: Dataset, batch_size: int = 32) -> None:
        self.dataset, self.batch_size = dataset, batch_size

    def __len__(self) -> int:
        return math.ceil(len(self.dataset) / self.batch_size)

    def __iter__(self) -> Iterator[Batch]:
        for begin in range(0, len(self.dataset), self.batch_size):
            yield self.dataset.batch(list(range(begin, min(begin + self.batch_size, len(self.dataset)))))
