"""Splits by patient: a hold-out that is never touched in training, and folds of the rest."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from traindx.errors import InputError
from traindx.finding import Frozen
from traindx.recipes.segmentation.sources import CaseRef


class Split(Frozen):
    """Case names of each part; no patient is in two of them.

    Attributes:
        train: Trained on.
        val: Chooses the checkpoint and the threshold.
        test: Hold-out; only `evaluate` reads it.
    """

    train: tuple[str, ...]
    val: tuple[str, ...]
    test: tuple[str, ...] = ()


def split_cases(
    cases: Sequence[CaseRef], *, fold: int = 0, folds: int = 5, holdout: float = 0.2, seed: int = 0
) -> Split:
    """Split by patient. The hold-out is the same for every fold; only the seed moves it.

    Args:
        cases: All cases.
        fold: Which fold is validated on, ``0 <= fold < folds``.
        folds: Number of folds of what is left after the hold-out.
        holdout: Share of patients held out (rounded up).
        seed: Seed of the order of patients.

    Raises:
        InputError: There are too few patients, or the fold does not exist.
    """
    if not 0 <= fold < folds:
        raise InputError(f"there is no fold {fold}", expected=f"0 to {folds - 1}")
    patients = sorted({case.patient for case in cases})
    order = [patients[index] for index in np.random.default_rng(seed).permutation(len(patients))]
    held = int(np.ceil(holdout * len(order)))
    test, rest = set(order[:held]), order[held:]
    if len(rest) < folds or folds < 2:
        raise InputError(
            f"{len(rest)} patients are left for {folds} folds",
            expected="at least two folds and a patient for each",
            do="use fewer folds or a smaller hold-out",
        )
    val = set(rest[fold::folds])
    return Split(
        train=tuple(case.name for case in cases if case.patient not in test | val),
        val=tuple(case.name for case in cases if case.patient in val),
        test=tuple(case.name for case in cases if case.patient in test),
    )
