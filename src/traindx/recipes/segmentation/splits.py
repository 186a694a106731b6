"""Splits by patient: a hold-out that is never touched in training, and folds of the rest."""

from __future__ import annotations

import math
from collections.abc import Sequence

from traindx.errors import InputError
from traindx.recipes.kit.split import Split, divided, in_seeded_order
from traindx.recipes.segmentation.sources import CaseRef


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
    order = in_seeded_order(patients, seed)
    held = math.ceil(holdout * len(order))
    rest = order[held:]
    if len(rest) < folds or folds < 2:
        raise InputError(
            f"{len(rest)} patients are left for {folds} folds",
            expected="at least two folds and a patient for each",
            do="use fewer folds or a smaller hold-out",
        )
    part_of = {**dict.fromkeys(rest, "train"), **dict.fromkeys(rest[fold::folds], "val")}
    part_of |= dict.fromkeys(order[:held], "test")
    return divided(((case.name, case.patient) for case in cases), part_of)
