"""Windows of pairs of plain images for training, and whole pairs for validation; split by patient."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import lightning as L
import torch
from torch import Tensor
from torch.utils.data import Dataset

from traindx.errors import InputError
from traindx.recipes.fusion import studies
from traindx.recipes.fusion.module import SeededWindows
from traindx.recipes.fusion.pairs.folders import Pair, folder_of_pairs, patients
from traindx.recipes.kit.split import Split

_AIR = 0.04  # ten grey levels: what is darker in both images is no place to centre a window on


class PairWindows(Dataset[dict[str, Any]]):
    """Square windows of slices, centred on a place that is not air in both images.

    An item holds ``a`` and ``b``, each ``(1, size, size)`` on [0, 1], moved, flipped and turned alike; which image is
    called ``a`` is drawn too, so that a network does not rely on the order of modalities.

    Args:
        pairs: Pairs.
        size: Pixels along each side; smaller images are padded by black.
    """

    def __init__(self, pairs: Sequence[Pair], size: int) -> None:
        self.size = size
        self.slices: list[tuple[Tensor, Tensor]] = []
        for pair in pairs:
            a, b = (_at_least(image, size) for image in pair.tensors)
            self.slices += [(a[z], b[z]) for z in range(len(a)) if bool((torch.maximum(a[z], b[z]) > _AIR).any())]
        self.places = [torch.nonzero(torch.maximum(a, b)[0] > _AIR).to(torch.int32) for a, b in self.slices]

    def __len__(self) -> int:
        return len(self.slices)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return self.item(index)

    def item(self, index: int, generator: torch.Generator | None = None) -> dict[str, Any]:
        """A window, drawn by the generator (the global one by default)."""
        a, b = self.slices[index]
        places = self.places[index]
        row, column = places[int(torch.randint(len(places), (1,), generator=generator))].tolist()
        top, left = (
            min(max(0, centre - self.size // 2), side - self.size)
            for centre, side in zip((row, column), a.shape[-2:], strict=True)
        )
        turn = int(torch.randint(16, (1,), generator=generator))
        cut = [image[:, top : top + self.size, left : left + self.size] for image in (a, b)]
        turned = [torch.rot90(image.flip(-1) if turn & 4 else image, turn % 4, (-2, -1)) for image in cut]
        first, second = turned if turn & 8 else reversed(turned)
        return {"a": first.contiguous(), "b": second.contiguous()}


def _at_least(image: Tensor, size: int) -> Tensor:
    missing = [max(0, size - side) for side in image.shape[-2:]]
    return torch.nn.functional.pad(image, (0, missing[1], 0, missing[0]))


@dataclass(frozen=True)
class PairsOfRun:
    """What a run reads.

    Attributes:
        split: Patients of both sides.
        train: Training pairs.
        val: Validation pairs.
    """

    split: Split
    train: list[Pair]
    val: list[Pair]


class PairData(L.LightningDataModule):  # type: ignore[misc]
    """Pairs of registered plain images in a folder of two modalities.

    Args:
        source: ``pairs``.
        root: Folder with one folder for each modality; ``split.json`` in it may state patients as train and val.
        patient: Regular expression of the patient in a name; see `folders.patients`.
        range_a: Values of the first modality that are black and white.
        range_b: Of the second.
        size: Pixels along each side of a training window.
        batch_size: Windows in a batch.
        epoch_steps: Batches between two validations.
        val: Most validation pairs, evenly drawn.
        seed: Seed of the split and of the order of batches.
    """

    def __init__(
        self,
        source: Literal["pairs"] = "pairs",
        root: Path | None = None,
        patient: str = "",
        range_a: tuple[float, float] | None = None,
        range_b: tuple[float, float] | None = None,
        size: int = 96,
        batch_size: int = 4,
        epoch_steps: int = 200,
        val: int = 12,
        seed: int = 0,
    ) -> None:
        super().__init__()
        self.root, self.patient, self.ranges = root, patient, (range_a, range_b)
        self.size, self.batch_size, self.epoch_steps = size, batch_size, epoch_steps
        self.most_val, self.seed = val, seed
        self._found: PairsOfRun | None = None
        self._windows: PairWindows | None = None

    @property
    def found(self) -> PairsOfRun:
        """The pairs, read when first asked for.

        Raises:
            InputError: There is no folder, no pair, or one patient only.
        """
        if self._found is None:
            if self.root is None:
                raise InputError("no folder of pairs is given", expected="--root with one folder for each modality")
            folder = folder_of_pairs(self.root)
            patient_of = patients(list(folder.files), self.patient)
            names = sorted(set(patient_of.values()))
            if len(names) < 2:
                raise InputError(f"there is one patient, {names[0]}", expected="two or more, to hold one out")
            split = studies.split(names, self.root, self.seed)
            sides = [
                [name for name in folder.files if patient_of[name] in set(part)] for part in (split.train, split.val)
            ]
            step = max(1, -(-len(sides[1]) // self.most_val))
            train, val = ([folder.read(name, self.ranges) for name in side] for side in (sides[0], sides[1][::step]))
            self._found = PairsOfRun(split, train, val)
        return self._found

    def train_dataloader(self) -> SeededWindows:
        """Training batches, in an order that goes on where a run was interrupted."""
        if self._windows is None:
            self._windows = PairWindows(self.found.train, self.size)
        used, rank, world = 0, 0, 1
        if self.trainer is not None:
            used = self.trainer.global_step * self.trainer.accumulate_grad_batches
            rank, world = self.trainer.global_rank, self.trainer.world_size
        return SeededWindows(self._windows, self.batch_size, self.seed, self.epoch_steps, used, rank, world)

    def val_dataloader(self) -> Whole:
        """Whole validation pairs."""
        return Whole(self.found.val)


class Whole:
    """Whole slices one after the other: ``a`` and ``b`` as ``(1, 1, H, W)``, and ``name``.

    Args:
        pairs: Pairs.
    """

    def __init__(self, pairs: Sequence[Pair]) -> None:
        self.pairs = list(pairs)

    def __len__(self) -> int:
        return sum(len(pair.a.luminance) for pair in self.pairs)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        for pair in self.pairs:
            a, b = pair.tensors
            for z in range(len(a)):
                yield {"a": a[z : z + 1], "b": b[z : z + 1], "name": pair.name}
