"""A tensor as a linear combination of others, and whether it is one to rounding error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from traindx.core.later import Later

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Array = NDArray[np.float64]
else:
    np, Array = Later("numpy"), Any


WORST_CONDITION = 3e4
"""Ratio of singular values of the normalised columns from which coefficients of 32-bit numbers mean nothing."""


@dataclass(frozen=True)
class Combination:
    """Coefficients of the columns, and what is left.

    Attributes:
        weights: One a column.
        residual: Root mean square of what is left, relative to that of the result.
        known: False if the columns are too nearly dependent, or too few values are finite, for the weights to be
            those of the formula.
    """

    weights: tuple[float, ...]
    residual: float
    known: bool


def combination(columns: Sequence[Array], result: Array, good: NDArray[np.bool_] | None = None) -> Combination:
    """Least squares of ``result`` on ``columns``, all flat and of one length.

    Args:
        columns: What it may be made of.
        result: What it is.
        good: Values to use; all finite ones by default.
    """
    design = np.stack(columns, axis=1)
    usable = np.isfinite(design).all(axis=1) & np.isfinite(result)
    if good is not None:
        usable &= good
    design, wanted = design[usable], result[usable]
    nothing = Combination((0.0,) * len(columns), 1.0, False)
    if len(wanted) < 2 * len(columns) + 4:
        return nothing
    sizes = np.sqrt(np.mean(design**2, axis=0))
    size = float(np.sqrt(np.mean(wanted**2)))
    if not (sizes > 0).all() or size == 0:
        return nothing
    left, singular, right = np.linalg.svd(design / sizes, full_matrices=False)
    if singular[-1] <= singular[0] / WORST_CONDITION:
        return nothing
    weights = (right.T @ ((left.T @ wanted) / singular)) / sizes
    residual = float(np.sqrt(np.mean((wanted - design @ weights) ** 2))) / size
    return Combination(tuple(float(weight) for weight in weights), residual, True)
