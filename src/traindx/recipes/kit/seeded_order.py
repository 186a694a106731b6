"""Shuffled batches in an order that can be resumed anywhere, and that processes of a distributed training share."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator
from typing import Any, ClassVar

import torch
from torch.utils.data import default_collate


class SeededOrder(ABC):
    """Shuffled batches whose order follows from a seed and the number of batches used so far.

    Args:
        count: How many samples there are.
        batch_size: Samples in a batch; a last smaller one of a pass is dropped.
        seed: Seed of everything that is drawn.
        length: Batches of one iteration; passes over the data follow each other without a break.
        used: Batches that were used before.
        rank: Which of the processes of a distributed training this is; each takes its own part of a common order.
        world: How many processes there are.

    Attributes:
        apart: What the numbers of two seeds are apart; there are fewer passes.
    """

    apart: ClassVar[int]

    def __init__(
        self, count: int, batch_size: int, seed: int, length: int, used: int = 0, rank: int = 0, world: int = 1
    ) -> None:
        self.count = count
        self.batch_size = max(1, min(batch_size, count // world))
        self.rank, self.world = rank, world
        self.seed = seed
        self.length = length
        self.used = used

    def __len__(self) -> int:
        return self.length

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for _ in range(self.length):
            number, self.used = self.used, self.used + 1
            yield default_collate(self.samples(number, self._chosen(number)))

    @abstractmethod
    def samples(self, number: int, chosen: list[int]) -> list[dict[str, Any]]:
        """The samples of a batch, by the number of the batch and their indices."""

    def _chosen(self, number: int) -> list[int]:
        together = self.batch_size * self.world
        epoch, place = divmod(number, max(1, self.count // together))
        order: list[int] = torch.randperm(self.count, generator=self.generator(epoch)).tolist()
        first = place * together + self.rank * self.batch_size
        return order[first : first + self.batch_size]

    def generator(self, number: int) -> torch.Generator:
        """A generator of its own for a number, such as that of a pass."""
        return torch.Generator().manual_seed(self.seed * self.apart + number)
