r"""The laws that learning curves follow, each with its shape held fixed, so that what is left is linear.

With s the steps at the peak rate that were spent and lower values better, :math:`y(s) = c + a\,g(s) + r\,\rho(s)` with
:math:`a, r \ge 0`:

* power law with plateau, :math:`g = s^{-b}` (Hestness et al. 2017, eq. 1; Domhan et al. 2015, "pow3");
* exponential with plateau, :math:`g = e^{-s/\tau}` (Domhan et al. 2015, "exp4" with exponent 1);
* log-linear, :math:`g = -\log s`, which has no plateau;
* flat, :math:`g = 0`.

:math:`\rho` is the share of the peak learning rate: what is lost to the noise of large steps and comes back as the rate
falls (Tissue et al. 2024, "Scaling law with learning rate annealing", use the sum of rates as s in the same way).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import combinations
from typing import Literal

import numpy as np

from traindx.prognosis.curve import Array

Family = Literal["power law", "exponential", "log-linear", "flat"]
FAMILIES: tuple[Family, ...] = ("power law", "exponential", "log-linear", "flat")

# Exponents lie between 0.07 and 0.5 in the amount of data (Hestness et al. 2017) and are larger in steps.
EXPONENTS = np.geomspace(0.15, 3.0, 10)
# A decay of four times the curve seen is a straight line there: that is how short trainings begin.
DECAYS = np.geomspace(0.1, 4.0, 10)  # of what was spent so far


@dataclass(frozen=True)
class Law:
    """A family with its shape parameter fixed.

    Attributes:
        family: Which.
        parameter: Exponent b, or decay tau in units of ``scale``; 0 where there is none.
        scale: What was spent so far; only its order of magnitude matters.
        prior: Prior probability; families have equal shares.
    """

    family: Family
    parameter: float
    scale: float
    prior: float

    def shape(self, spent: Array) -> Array:
        """g at what was spent, of order one."""
        x = np.maximum(np.asarray(spent, dtype=float), 1e-9) / self.scale
        if self.family == "power law":
            return np.asarray(x**-self.parameter)
        if self.family == "exponential":
            return np.asarray(np.exp(-x / self.parameter))
        return np.asarray(-np.log(x))

    def columns(self, spent: Array, share: Array | None) -> Array:
        """The linear model at some points, shape ``(n, 1 to 3)``: constant, shape, share of the rate."""
        found = [np.ones(len(spent))]
        if self.family != "flat":
            found.append(self.shape(spent))
        if share is not None:
            found.append(np.asarray(share, dtype=float))
        return np.column_stack(found)


def laws(scale: float) -> list[Law]:
    """Every law that is averaged over."""
    each = 1 / len(FAMILIES)
    found = [Law("power law", float(b), scale, each / len(EXPONENTS)) for b in EXPONENTS]
    found += [Law("exponential", float(tau), scale, each / len(DECAYS)) for tau in DECAYS]
    return [*found, Law("log-linear", 0.0, scale, each), Law("flat", 0.0, scale, each)]


def solve(columns: Array, values: Array, weights: Array) -> tuple[Array, Array]:
    """Weighted least squares with all coefficients but the first not negative.

    Args:
        columns: Shape ``(n, k)`` with k at most 3.
        values: Shape ``(n, m)``: m series at once.
        weights: Shape ``(n,)``.

    Returns:
        Coefficients ``(k, m)`` and weighted sums of squares ``(m,)``.
    """
    width, count = columns.shape[1], values.shape[1]
    root = np.sqrt(weights)[:, None]
    best, left = np.zeros((width, count)), np.full(count, np.inf)
    for size in range(width):
        for chosen in combinations(range(1, width), size):
            used = [0, *chosen]
            some = np.linalg.lstsq(columns[:, used] * root, values * root, rcond=None)[0]
            squares = np.square((values - columns[:, used] @ some) * root).sum(0)
            better = (squares < left) & np.all(some[1:] >= 0, axis=0)
            whole = np.zeros((width, count))
            whole[used] = some
            best[:, better], left[better] = whole[:, better], squares[better]
    return best, left
