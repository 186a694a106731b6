"""Mean over seeds and patients, and its interval when both are drawn again."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 4000


def interval(table: NDArray[np.float64], resamples: int = RESAMPLES) -> tuple[float, float, float]:
    """Mean of ``(seeds, patients)`` and its 95 % interval; patients without a figure somewhere are left out."""
    rng = np.random.default_rng(0)
    table = table[:, np.isfinite(table).all(axis=0)]
    if table.size == 0:
        return float("nan"), float("nan"), float("nan")
    seeds, patients = table.shape
    rows = rng.integers(seeds, size=(resamples, seeds))
    columns = rng.integers(patients, size=(resamples, patients))
    means = table[rows[:, :, None], columns[:, None, :]].mean(axis=(1, 2))
    low, high = np.percentile(means, (2.5, 97.5))
    return float(table.mean()), float(low), float(high)
