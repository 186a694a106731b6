"""A figure over patients with its 95 % interval, by :func:`scipy.stats.bootstrap`.

Percentile intervals, because they were published, and because those corrected for bias (BCa) are not defined where all
patients agree.
"""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import scipy
from numpy.typing import NDArray

from traindx.finding import Frozen

RESAMPLES = 2000
_SEED = "rng" if tuple(map(int, scipy.__version__.split(".")[:2])) >= (1, 15) else "random_state"


class Estimate(Frozen):
    """A figure with its 95 % interval.

    Attributes:
        mean: The figure: a mean over the cases in which it is defined, or a statistic of all.
        low: Lower end; NaN for fewer than two cases.
        high: Upper end.
        cases: Number of cases (patients) behind it.
        undefined: Number of cases in which it is not defined.
    """

    mean: float
    low: float
    high: float
    cases: int
    undefined: int = 0

    def __str__(self) -> str:
        return self.text(4)

    def text(self, digits: int, sign: str = "") -> str:
        """The figure and its interval, for example ``0.912 [0.873, 0.934]``."""
        shown = f"{sign}.{digits}f"
        return f"{self.mean:{shown}} [{self.low:{shown}}, {self.high:{shown}}]"


def mean_of(values: Sequence[float], *, resamples: int = RESAMPLES, seed: int = 0) -> Estimate:
    """Mean over cases; undefined values are counted and left out.

    Args:
        values: One a case (patient), NaN where it is not defined.
        resamples: Number of bootstrap resamples.
        seed: Their seed; equal seeds draw the same cases.
    """
    defined = np.array([value for value in values if math.isfinite(value)], dtype=float)
    low, high = _interval(defined, lambda drawn, axis: drawn.mean(axis=axis), resamples, seed, vectorized=True)
    return Estimate(
        mean=float(defined.mean()) if len(defined) else math.nan,
        low=low,
        high=high,
        cases=len(defined),
        undefined=len(values) - len(defined),
    )


def by_patient(
    statistic: Callable[[NDArray[np.intp]], float], patients: Sequence[str], *, resamples: int = 1000, seed: int = 0
) -> Estimate:
    """A statistic of images when patients are drawn with replacement, all images of one together.

    Args:
        statistic: Indices of images (with repeats) to the figure; resamples that it is NaN of are left out.
        patients: Patient of each image.
        resamples: Number of bootstrap resamples.
        seed: Their seed; equal seeds pair two statistics.
    """
    names = sorted(set(patients))
    images = [np.array([i for i, one in enumerate(patients) if one == name], np.intp) for name in names]

    def of(drawn: NDArray[Any]) -> float:
        return statistic(np.concatenate([images[int(patient)] for patient in drawn]))

    low, high = _interval(np.arange(len(names)), of, resamples, seed, vectorized=False)
    return Estimate(mean=statistic(np.arange(len(patients))), low=low, high=high, cases=len(names))


def _interval(
    values: NDArray[Any], statistic: Callable[..., Any], resamples: int, seed: int, *, vectorized: bool
) -> tuple[float, float]:
    from scipy.stats import bootstrap

    if len(values) < 2:
        return math.nan, math.nan
    options: dict[str, Any] = {_SEED: np.random.default_rng(seed)}
    with np.errstate(invalid="ignore"), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # resamples that the statistic is NaN of are left out below
        found = bootstrap(
            (values,), statistic, n_resamples=resamples, vectorized=vectorized, method="percentile", **options
        )
    drawn = found.bootstrap_distribution
    if np.isnan(drawn).all():
        return math.nan, math.nan
    if not np.isnan(drawn).any():
        return float(found.confidence_interval.low), float(found.confidence_interval.high)
    low, high = np.nanpercentile(drawn, (2.5, 97.5))
    return float(low), float(high)


@dataclass(frozen=True)
class Score:
    """One figure of one predictor.

    Attributes:
        values: One a patient; NaN where it is not defined.
    """

    values: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean over the patients that have a value."""
        known = [value for value in self.values if math.isfinite(value)]
        return sum(known) / len(known) if known else math.nan

    def estimate(self, minus: Score | None = None) -> Estimate:
        """The mean over patients with its interval.

        Args:
            minus: Another predictor on the same patients: the estimate is that of the mean paired difference.
        """
        if minus is None:
            return mean_of(self.values)
        return mean_of([mine - other for mine, other in zip(self.values, minus.values, strict=True)])


Table = dict[str, dict[str, Score]]
"""Scores by predictor and figure."""


def as_json(table: Table) -> str:
    """The scores of every patient, by predictor and figure."""
    return json.dumps({who: {name: score.values for name, score in row.items()} for who, row in table.items()})


def write_scores(out: Path | None, table: Table) -> None:
    """Write ``scores.json`` where a folder is given."""
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        (out / "scores.json").write_text(as_json(table), encoding="utf-8")
