"""Balanced patches. Every draw follows from (seed, sample number): a resumed run sees what an unbroken one sees."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.utils.data import Dataset, Sampler

from traindx.recipes.segmentation.augmentation import Augmentation
from traindx.recipes.segmentation.labels import IGNORE
from traindx.recipes.segmentation.planning import Triple
from traindx.recipes.segmentation.preprocessing import PreparedCase

Patch = dict[str, Tensor]


def cut(
    image: NDArray[np.float32], label: NDArray[np.int8], start: Sequence[int], size: Triple
) -> tuple[NDArray[np.float32], NDArray[np.int8]]:
    """Cut a patch; what lies outside the volume is 0 in the image (its mean) and *ignore* in the label.

    Args:
        image: Shape ``(channels, D, H, W)``.
        label: Shape ``(D, H, W)``.
        start: First voxel, may be negative.
        size: Patch size.
    """
    low = [max(0, s) for s in start]
    high = [min(n, s + p) for n, s, p in zip(label.shape, start, size, strict=True)]
    inside = tuple(slice(a, b) for a, b in zip(low, high, strict=True))
    place = tuple(slice(a - s, b - s) for a, b, s in zip(low, high, start, strict=True))
    out_image = np.zeros((image.shape[0], *size), dtype=np.float32)
    out_label = np.full(size, IGNORE, dtype=np.int8)
    out_image[(slice(None), *place)] = image[(slice(None), *inside)]
    out_label[place] = label[inside]
    return out_image, out_label


class PatchDataset(Dataset[Patch]):
    """Random patches of cases.

    Args:
        cases: Prepared cases with labels.
        patch: Patch size.
        augmentation: Applied to each patch, or None.
        foreground: Share of patches centred on a voxel of a class; classes are drawn evenly, however small. The rest
            is centred on any labelled voxel.
        seed: With the sample number it determines everything.

    A sample number is any non-negative integer (see :class:`SampleNumbers`); numbers that agree modulo the number of
    cases show the same case.
    """

    def __init__(
        self,
        cases: Sequence[PreparedCase],
        patch: Triple,
        *,
        augmentation: Augmentation | None = None,
        foreground: float = 0.5,
        seed: int = 0,
    ) -> None:
        self.cases = cases
        self.patch = patch
        self.augmentation = augmentation
        self.foreground = foreground
        self.seed = seed
        self._where: dict[tuple[int, int], NDArray[np.int64]] = {}

    def __len__(self) -> int:
        return len(self.cases)

    def __getitem__(self, number: int) -> Patch:
        """A patch: ``image`` (channels, D, H, W), ``label`` (1, D, H, W) int8, ``labelled`` (classes,)."""
        index = number % len(self.cases)
        case = self.cases[index]
        assert case.label is not None
        rng = np.random.default_rng([self.seed, number])
        start = self._start(index, case, rng)
        image, label = cut(case.image, case.label, start, self.patch)
        if self.augmentation is not None:
            image, label = self.augmentation(image, label, seed=int(rng.integers(2**31)))
        return {
            "image": torch.from_numpy(image),
            "label": torch.from_numpy(label)[None],
            "labelled": torch.from_numpy(case.labelled),
        }

    def _voxels(self, index: int, case: PreparedCase, wanted: int) -> NDArray[np.int64]:
        """Flat positions of a class (or, for 0, of every labelled voxel), found once a case."""
        key = (index, wanted)
        if key not in self._where:
            assert case.label is not None
            flat = case.label.reshape(-1)
            self._where[key] = np.flatnonzero(flat == wanted if wanted else flat != IGNORE)
        return self._where[key]

    def _start(self, index: int, case: PreparedCase, rng: np.random.Generator) -> list[int]:
        assert case.label is not None
        shape = case.label.shape
        wanted = 0
        if rng.random() < self.foreground:
            present = [c for c in range(1, len(case.labelled) + 1) if len(self._voxels(index, case, c))]
            wanted = int(rng.choice(present)) if present else 0
        positions = self._voxels(index, case, wanted)
        centre = np.unravel_index(int(rng.choice(positions)), shape) if len(positions) else [n // 2 for n in shape]
        start = []
        for middle, n, p in zip(centre, shape, self.patch, strict=True):
            if n <= p:  # the volume fits: keep it whole, anywhere in the patch
                start.append(-int(rng.integers(p - n + 1)))
            else:
                start.append(int(np.clip(int(middle) - p // 2, 0, n - p)))
        return start


class SampleNumbers(Sampler[int]):
    """Sample numbers of an epoch: every case once in a lap, in an order drawn from (seed, lap).

    Args:
        cases: Number of cases.
        per_epoch: Samples an epoch.
        seed: Seed of the order.
        position: Samples that the run has drawn so far; asked at the start of every epoch.

    The position comes from the optimiser steps taken and not from ``set_epoch``: Lightning 2.6 numbers epochs one too
    high when it resumes at the end of an epoch, and a resumed run would see other patches than an unbroken one.
    """

    def __init__(self, cases: int, per_epoch: int, seed: int = 0, position: Callable[[], int] = lambda: 0) -> None:
        self.cases = cases
        self.per_epoch = per_epoch
        self.seed = seed
        self.position = position

    def __len__(self) -> int:
        return self.per_epoch

    def __iter__(self) -> Iterator[int]:
        first = self.position()
        laps: dict[int, NDArray[np.int64]] = {}
        for number in range(first, first + self.per_epoch):
            lap, place = divmod(number, self.cases)
            if lap not in laps:
                laps[lap] = np.random.default_rng([self.seed, lap]).permutation(self.cases)
            yield lap * self.cases + int(laps[lap][place])
