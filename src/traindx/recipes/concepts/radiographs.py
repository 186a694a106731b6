"""A set of images with labels, boxes, a task and patients, and how it is divided by patient."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from traindx.errors import InputError
from traindx.recipes.concepts.boxes import Boxes
from traindx.recipes.kit.split import Split, divided


@dataclass(frozen=True)
class Radiographs:
    """Radiographs in memory, or colour images of lesions.

    Attributes:
        name: Name of the set.
        images: Raw grey values, shape ``(N, H, W)``, bright is dense; or colours, ``(N, H, W, 3)``.
        ids: Name of each image.
        patients: Patient of each image.
        concepts: Names of the K concepts.
        labels: 1 present, 0 absent, NaN not known; shape ``(N, K)``.
        boxes: Boxes of each image, ``(n, 5)``.
        classes: Names of the classes of the task.
        task: Class of each image, -1 where it is not known.
        white: Raw value that is shown white (255 for 8 bits).
    """

    name: str
    images: NDArray[np.generic]
    ids: tuple[str, ...]
    patients: tuple[str, ...]
    concepts: tuple[str, ...]
    labels: NDArray[np.float32]
    boxes: tuple[Boxes, ...]
    classes: tuple[str, ...]
    task: NDArray[np.int64]
    white: float = 255.0

    def __len__(self) -> int:
        return len(self.ids)

    def only(self, ids: Sequence[str]) -> Radiographs:
        """The images of some names, in the order of the set."""
        wanted = set(ids)
        keep = [index for index, name in enumerate(self.ids) if name in wanted]
        return Radiographs(
            self.name,
            self.images[keep],
            tuple(self.ids[i] for i in keep),
            tuple(self.patients[i] for i in keep),
            self.concepts,
            self.labels[keep],
            tuple(self.boxes[i] for i in keep),
            self.classes,
            self.task[keep],
            self.white,
        )


def split_patients(data: Radiographs, *, val: float = 0.2, test: float = 0.2, seed: int = 0) -> Split:
    """Divide by patient with a generator of its own: every process and every rank draws the same division.

    Patients are drawn within groups of equal labels, so that a rare concept is in every part where there are enough.

    Args:
        data: The radiographs.
        val: Share of the patients for validation.
        test: Share held out.
        seed: The only thing that moves the division; the global random state does not.

    Raises:
        InputError: A part would be empty.
    """
    groups = _groups(data, [""] * len(data))
    generator = np.random.default_rng(seed)
    part_of: dict[str, str] = {}
    position = 0
    for key in sorted(set(groups.values())):
        mine = sorted(patient for patient, group in groups.items() if group == key)
        for patient in (mine[i] for i in generator.permutation(len(mine))):  # one generator for all groups
            # a low-discrepancy walk keeps the shares right across groups of any size
            place = (position * 0.6180339887) % 1.0
            position += 1
            part_of[patient] = "test" if place < test else "val" if place < test + val else "train"
    split = divided(zip(data.ids, data.patients, strict=True), part_of)
    for name, share in (("train", 1 - val - test), ("val", val), ("test", test)):
        if share > 0 and not getattr(split, name):
            raise InputError(
                f"{len(groups)} patients of {data.name} leave none for {name}",
                expected="more patients",
                do="use larger shares",
            )
    return split


def folds(data: Radiographs, count: int, *, seed: int = 0) -> tuple[tuple[str, ...], ...]:
    """Patients dealt out to folds of nearly equal size, in the order of class and labels: each fold has of every kind.

    Args:
        data: The images.
        count: Number of folds.
        seed: Order within a kind.

    Returns:
        Names of the images of each fold.

    Raises:
        InputError: There are fewer patients than folds.
    """
    groups = _groups(data, [f"{value:03d} " for value in data.task])
    if len(groups) < count:
        raise InputError(f"{len(groups)} patients of {data.name}", expected=f"at least {count}, one a fold")
    order = np.random.default_rng(seed).permutation(len(groups))
    names = sorted(groups)
    dealt = sorted((names[i] for i in order), key=groups.__getitem__)  # stable: a seeded order within each kind
    fold_of = {patient: position % count for position, patient in enumerate(dealt)}
    return tuple(
        tuple(name for name, patient in zip(data.ids, data.patients, strict=True) if fold_of[patient] == fold)
        for fold in range(count)
    )


def _groups(data: Radiographs, prefix: Sequence[str]) -> dict[str, str]:
    """The kind of each patient: its prefix and labels, the largest of its images."""
    groups: dict[str, str] = {}
    for index, patient in enumerate(data.patients):
        key = prefix[index] + "".join("?" if np.isnan(v) else str(int(v)) for v in data.labels[index])
        groups[patient] = max(groups.get(patient, ""), key)
    return groups
