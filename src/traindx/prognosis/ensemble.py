"""Curves that are compatible with what was seen: an average over laws, with the residuals' blocks bootstrapped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from traindx.errors import InputError
from traindx.prognosis.curve import FEWEST, Array, LearningCurve, Tail, tail_of
from traindx.prognosis.families import FAMILIES, Family, Law, laws, solve

REPLICATES = 600
# The likelihood is raised to this power, since none of the laws is the true one and the best of several wrong ones is
# believed too readily (Gruenwald and van Ommen 2017, "Inconsistency of Bayesian inference for misspecified models").
TEMPER = 0.5
HUBER = 1.345  # 95 % efficiency for normal residuals (Huber 1964)
# A share of the rate that varies less than this over the points cannot be told from the shape.
VARIES = 0.1
# What the fall of the rate to zero gives back, as a share of what the tail improved by: mean and standard deviation.
# A short curve cannot tell it from progress, so that it has to be known beforehand.
ANNEALING = (0.1, 0.1)
# No training follows a law of three numbers to the end: log-normal scatter of the gain for every doubling of the steps.
DISCREPANCY = 0.25


@dataclass(frozen=True)
class Ensemble:
    """Replicates of a fitted curve, lower values better.

    Attributes:
        curve: What was fitted.
        tail: Its smoothed tail.
        families: Posterior weight of each family of laws.
        noise: Standard deviation of the points about the curve.
        residuals: Residuals of the best law.
    """

    curve: LearningCurve
    tail: Tail
    families: dict[Family, float]
    noise: float
    residuals: Array
    _pieces: tuple[tuple[Law, Array], ...]
    _rated: bool
    _scatter: Array

    @classmethod
    def of(cls, curve: LearningCurve, *, seed: int = 0, replicates: int = REPLICATES) -> Ensemble:
        """Fit a curve.

        Laws are weighted by the Bayesian information criterion, with the number of points corrected for the correlation
        of their residuals. For every replicate a law is drawn by weight and fitted to its curve plus blocks of its
        residuals (moving blocks, Kunsch 1989), scaled by a draw of their unknown variance.

        Raises:
            InputError: There are too few points.
        """
        tail = tail_of(curve)
        if len(tail) < FEWEST:
            raise InputError(
                f"{curve.name} has {len(tail)} usable points"
                + (f" since its abrupt fall at step {tail.since:g}" if tail.since else ""),
                expected=f"at least {FEWEST}",
                do="validate more often, or let it run on",
            )
        rated = bool(np.ptp(tail.share) > VARIES)
        known = laws(float(tail.spent[-1]))
        prior = _Annealing.of(tail) if rated else None
        weights = _robust(tail, known, prior)
        fits = [_fitted(law, tail, weights, prior) for law in known]
        best = min(range(len(known)), key=lambda index: fits[index][2] + 1e-12 * index)
        residuals = tail.values - fits[best][1]
        effective = _effective(residuals)
        floor = 1e-12 + 1e-9 * float(np.abs(tail.values).max()) ** 2
        scores = np.array(
            [
                np.log(law.prior)
                - TEMPER * 0.5 * max(1.0, effective - columns.shape[1]) * np.log((left + floor) / len(tail))
                - TEMPER * 0.5 * columns.shape[1] * np.log(effective)
                for law, (columns, _, left) in zip(known, fits, strict=True)
            ]
        )
        posterior = np.exp(scores - scores.max())
        posterior /= posterior.sum()
        generator = np.random.default_rng(seed)
        drawn = generator.multinomial(replicates, posterior)
        pieces = []
        for law, (columns, fitted, _), count in zip(known, fits, drawn, strict=True):
            if count:
                series = fitted[:, None] + _blocks(tail.values - fitted, columns.shape[1], int(count), generator)
                pieces.append((law, _solved(columns, series, weights, prior, generator)[0]))
        free = max(1, len(tail) - fits[best][0].shape[1])
        return cls(
            curve=curve,
            tail=tail,
            families={
                name: float(sum(p for p, law in zip(posterior, known, strict=True) if law.family == name))
                for name in FAMILIES
            },
            noise=float(np.sqrt(np.square(residuals).sum() / free)),
            residuals=residuals,
            _pieces=tuple(pieces),
            _rated=rated,
            _scatter=generator.standard_normal(replicates),
        )

    def at(self, steps: Sequence[float]) -> Array:
        """Replicates of the curve without noise at some steps, shape ``(replicates, steps)``, lower values better."""
        return self.tail.back(self._fitted_at(steps))

    def observed(self, steps: Sequence[float], seed: int = 0) -> Array:
        """The same with the noise of one further point each."""
        values = self._fitted_at(steps)
        return self.tail.back(values + self.noise * np.random.default_rng(seed).standard_normal(values.shape))

    def _fitted_at(self, steps: Sequence[float]) -> Array:
        now = self.tail.steps[-1]
        asked = np.asarray([now, *steps], dtype=float)
        spent, share = self.curve.schedule.spent(asked), self.curve.schedule.share(asked)
        found = np.concatenate(
            [(law.columns(spent, share if self._rated else None) @ some).T for law, some in self._pieces]
        )
        level, later = found[:, :1], found[:, 1:]
        doublings = np.maximum(0.0, np.log2(np.maximum(spent[1:], 1e-9) / max(1e-9, spent[0])))
        drift = np.exp(DISCREPANCY * np.sqrt(doublings)[None] * self._scatter[:, None])
        return np.asarray(level - (level - later) * drift)


@dataclass(frozen=True)
class _Annealing:
    """Prior of the coefficient of the rate's share, as one more row of the least squares.

    Attributes:
        mean: Of the coefficient.
        deviation: Of the coefficient.
        noise: Standard deviation of the points, from the differences of neighbours.
    """

    mean: float
    deviation: float
    noise: float

    @classmethod
    def of(cls, tail: Tail) -> _Annealing:
        improved = max(1e-9, float(tail.values.max() - tail.values.min()))
        noise = 1.4826 * float(np.median(np.abs(np.diff(tail.values)))) / np.sqrt(2)
        return cls(ANNEALING[0] * improved, ANNEALING[1] * improved, noise)


def _solved(
    columns: Array,
    series: Array,
    weights: Array,
    prior: _Annealing | None,
    generator: np.random.Generator | None = None,
) -> tuple[Array, Array]:
    """Least squares with the prior; with a generator the prior is drawn anew for each series, as the residuals are."""
    if prior is None:
        return solve(columns, series, weights)
    row = np.zeros((1, columns.shape[1]))
    row[0, -1] = prior.noise / prior.deviation
    draws = generator.standard_normal(series.shape[1]) if generator is not None else np.zeros(series.shape[1])
    value = row[0, -1] * (prior.mean + prior.deviation * draws)
    return solve(np.vstack([columns, row]), np.vstack([series, value[None]]), np.append(weights, 1.0))


def _fitted(law: Law, tail: Tail, weights: Array, prior: _Annealing | None) -> tuple[Array, Array, float]:
    """The columns of a law, its curve and its weighted sum of squares."""
    columns = law.columns(tail.spent, tail.share if prior is not None else None)
    some, left = _solved(columns, tail.values[:, None], weights, prior)
    return columns, columns @ some[:, 0], float(left[0])


def _robust(tail: Tail, known: Sequence[Law], prior: _Annealing | None) -> Array:
    """Huber's weights about the best law; ones where points are too few to call one of them an outlier."""
    weights = np.ones(len(tail))
    if len(tail) < 2 * FEWEST:
        return weights
    for _ in range(3):
        fits = [_fitted(law, tail, weights, prior) for law in known]
        residuals = tail.values - min(fits, key=lambda fit: fit[2])[1]
        scale = 1.4826 * float(np.median(np.abs(residuals)))
        if scale <= 0:
            break
        weights = np.minimum(1.0, HUBER * scale / np.maximum(np.abs(residuals), 1e-300))
    return weights


def _effective(residuals: Array) -> float:
    """Number of independent points, by the correlation of neighbours."""
    count = len(residuals)
    total = float(np.square(residuals).sum())
    if count < 2 * FEWEST or total <= 0:
        return float(count)
    near = float(np.clip((residuals[1:] * residuals[:-1]).sum() / total, 0.0, 0.8))
    return max(float(FEWEST), count * (1 - near) / (1 + near))


def _blocks(residuals: Array, parameters: int, count: int, generator: np.random.Generator) -> Array:
    """Residuals in moving blocks, shape ``(n, count)``."""
    size = len(residuals)
    length = max(1, round(size ** (1 / 3)))
    starts = generator.integers(0, size, (-(-size // length), count))
    index = (starts[:, None, :] + np.arange(length)[None, :, None]).reshape(-1, count)[:size] % size
    free = max(1, size - parameters)
    scale = np.sqrt(size / generator.chisquare(free, count))
    return np.asarray((residuals - residuals.mean())[index] * scale)
