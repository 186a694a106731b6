"""Splits by patient: the same for every process and every run with the same seed; no patient is in two parts."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from pydantic import model_validator

from traindx.errors import InputError
from traindx.finding import Frozen


class Split(Frozen):
    """Names of the cases (patients, volumes, images) of each part.

    Attributes:
        train: Trained on.
        val: Chooses checkpoints and thresholds.
        test: Hold-out; only ``evaluate`` reads it.
    """

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _no_name_twice(self) -> Split:
        both = (set(self.train) & set(self.val)) | (set(self.test) & {*self.train, *self.val})
        if both:
            raise InputError(f"{', '.join(sorted(both))} would be in two parts of the split", expected="one part each")
        return self


def in_seeded_order(names: Sequence[str], seed: int) -> list[str]:
    """Names in an order that only the seed moves; the global random state does not."""
    return [names[index] for index in np.random.default_rng(seed).permutation(len(names))]


def divided(cases: Iterable[tuple[str, str]], part_of: Mapping[str, str]) -> Split:
    """Cases to the parts of their patients.

    Args:
        cases: Name and patient of each case, in the order that the parts keep.
        part_of: ``train``, ``val`` or ``test`` by patient.
    """
    parts: dict[str, list[str]] = {"train": [], "val": [], "test": []}
    for name, patient in cases:
        parts[part_of[patient]].append(name)
    return Split(**{part: tuple(names) for part, names in parts.items()})
