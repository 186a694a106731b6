"""Curves that are compatible with what was seen: an average over laws, with the residuals' blocks bootstrapped."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from traindx.errors import InputError
from traindx.prognosis.curve import MIN_POINTS, Array, LearningCurve, Tail, tail_of
from traindx.prognosis.families import FAMILIES, Family, Law, laws, solve

REPLICATES = 600
# The likelihood is raised to this power, since none of the laws is the true one and the best of several wrong ones is
# believed too readily (Gruenwald and van Ommen 2017, "Inconsistency of Bayesian inference for misspecified models").
TEMPER = 0.5
HUBER = 1.345  # 95 % efficiency for normal residuals (Huber 1964)
# A share of the rate that varies less than this over the points cannot be told from the shape.
VARIES = 0.1
# What the fall of the rate to zero gives back, as a share of what the tail improved by: mean and standard deviation of
# two guesses. With averaged weights and large batches it is next to nothing, with small batches a third and more, and
# a short curve cannot tell it from progress.
ANNEALING = ((0.05, 0.1), (0.35, 0.2))
# No training follows a law of three numbers to the end: log-normal scatter of the gain for every doubling of the steps.
DISCREPANCY = 0.25
# The same for a run with the schedule stretched, which is another run: besides its own noise, what it spends at a high
# rate is worth more than the sum of rates says, by a factor that the first run does not tell.
STRETCHED = 0.6


@dataclass(frozen=True)
class Ensemble:
    """Replicates of a fitted curve, lower values better.

    Attributes:
        curve: What was fitted.
        tail: Its smoothed tail.
        families: Posterior weight of each family of laws.
        noise: Standard deviation of the points about the curve, in the figure's units.
    """

    curve: LearningCurve
    tail: Tail
    families: dict[Family, float]
    noise: float
    _pieces: tuple[tuple[_Trial, Array], ...]
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
        if len(tail) < MIN_POINTS:
            raise InputError(
                f"{curve.name} has {len(tail)} usable points"
                + (f" since its abrupt fall at step {tail.since:g}" if tail.since else ""),
                expected=f"at least {MIN_POINTS}",
                do="validate more often, or let it run on",
            )
        # a loss is fitted as it is, too: a plateau is an exponential's in one of the two domains only
        domains = [tail, replace(tail, values=tail.back(tail.values), logged=False)] if tail.logged else [tail]
        trials = [trial for domain in domains for trial in _trials(domain)]
        effective = max(
            _effective(min(_of(trials, domain), key=lambda one: one.fit.left).residuals) for domain in domains
        )
        scores = np.array([trial.score(effective) for trial in trials])
        posterior = np.exp(scores - scores.max())
        posterior /= posterior.sum()
        generator = np.random.default_rng(seed)
        pieces = []
        for trial, count in zip(trials, generator.multinomial(replicates, posterior), strict=True):
            if count:
                residual = _blocks(trial.residuals, trial.fit.parameters, int(count), generator)
                series = trial.fit.curve[:, None] + residual
                pieces.append((trial, _solved(trial.fit.columns, series, trial.weights, trial.prior, generator)))
        best = trials[int(scores.argmax())]
        return cls(
            curve=curve,
            tail=tail,
            families={
                name: float(sum(p for p, one in zip(posterior, trials, strict=True) if one.law.family == name))
                for name in FAMILIES
            },
            noise=best.noise * (float(np.exp(best.fit.curve[-1])) if best.tail.logged else 1.0),
            _pieces=tuple(pieces),
            _scatter=generator.standard_normal(replicates),
        )

    def at(self, steps: Sequence[float]) -> Array:
        """Replicates of the curve without noise at some steps, shape ``(replicates, steps)``, lower values better."""
        return self._drawn(steps, None)

    def observed(self, steps: Sequence[float], seed: int = 0) -> Array:
        """The same with the noise of one further point each."""
        return self._drawn(steps, np.random.default_rng(seed))

    def _drawn(self, steps: Sequence[float], generator: np.random.Generator | None) -> Array:
        schedule = self.curve.schedule
        asked = np.asarray([self.tail.steps[-1], *steps], dtype=float)
        spent, share = schedule.spent(asked), schedule.share(asked)
        scatter = DISCREPANCY * np.sqrt(np.maximum(0.0, np.log2(np.maximum(spent[1:], 1e-9) / max(1e-9, spent[0]))))
        if not schedule.constant:
            stretched = np.log2(np.maximum(1.0, asked[1:] / len(schedule.rates)))
            scatter = np.hypot(scatter, STRETCHED * np.sqrt(stretched))
        drift = np.exp(scatter[None] * self._scatter[:, None])
        found, first = [], 0
        for trial, some in self._pieces:
            curves = (trial.law.columns(spent, share if trial.prior is not None else None) @ some).T
            level, later = curves[:, :1], curves[:, 1:]
            values = level - (level - later) * drift[first : first + len(curves)]
            first += len(curves)
            if generator is not None:
                values = values + trial.noise * generator.standard_normal(values.shape)
            if self.tail.logged and not trial.tail.logged:
                values = np.maximum(values, 0.0)
            found.append(trial.tail.back(values))
        return np.concatenate(found)


@dataclass(frozen=True)
class _Trial:
    """A law, with a guess of what the fall of the rate gives back, fitted to a tail.

    Attributes:
        law: The law.
        prior: The guess; None where the rate did not vary.
        tail: The points, as logarithms or as they are.
        weights: Robust weights of the points.
        fit: What came of it.
    """

    law: Law
    prior: _Annealing | None
    tail: Tail
    weights: Array
    fit: _Fit

    @property
    def residuals(self) -> Array:
        return self.tail.values - self.fit.curve

    @property
    def noise(self) -> float:
        """Standard deviation of the points about the curve."""
        return float(np.sqrt(np.square(self.residuals).sum() / max(1, len(self.tail) - self.fit.parameters)))

    def score(self, effective: float) -> float:
        """Logarithm of the posterior, up to a constant that all trials share; comparable between both domains."""
        floor = 1e-18 + 1e-9 * float(np.ptp(self.tail.values)) ** 2
        likelihood = (
            -0.5 * max(1.0, effective - self.fit.parameters) * np.log((self.fit.left + floor) / self.weights.sum())
        )
        if self.tail.logged:  # the density of y is that of log y, over y
            likelihood -= max(1.0, effective - self.fit.parameters) * float(self.tail.values.mean())
        penalty = 0.5 * self.fit.parameters * np.log(effective) + 0.5 * self.fit.surprise**2 / TEMPER
        return float(np.log(self.law.prior) + TEMPER * (likelihood - penalty))


def _trials(tail: Tail) -> list[_Trial]:
    rated = bool(np.ptp(tail.share) > VARIES)
    priors: list[_Annealing | None] = [_Annealing.of(tail, *guess) for guess in ANNEALING] if rated else [None]
    pairs = [(law, prior) for prior in priors for law in laws(float(tail.spent[-1]))]
    weights = _robust(tail, [law for law, _ in pairs], [prior for _, prior in pairs])
    return [_Trial(law, prior, tail, weights, _fitted(law, tail, weights, prior)) for law, prior in pairs]


def _of(trials: Sequence[_Trial], tail: Tail) -> list[_Trial]:
    return [trial for trial in trials if trial.tail is tail]


@dataclass(frozen=True)
class _Annealing:
    """Prior of the coefficient of the rate's share, as one more row of the least squares.

    Attributes:
        mean: Of the coefficient.
        deviation: Of the coefficient.
        noise: Standard deviation of the points, from their second differences, which know no trend.
    """

    mean: float
    deviation: float
    noise: float

    @classmethod
    def of(cls, tail: Tail, mean: float, deviation: float) -> _Annealing:
        improved = max(1e-9, float(tail.values.max() - tail.values.min()))
        noise = 1.4826 * float(np.median(np.abs(np.diff(tail.values, 2)))) / np.sqrt(6)
        return cls(mean * improved, deviation * improved, noise)


@dataclass(frozen=True)
class _Fit:
    """A law fitted to a tail.

    Attributes:
        columns: Of the linear model.
        curve: What was fitted.
        left: Weighted sum of squares that is left.
        surprise: How far the coefficient of the rate's share is from its prior, in standard deviations.
    """

    columns: Array
    curve: Array
    left: float
    surprise: float

    @property
    def parameters(self) -> int:
        return int(self.columns.shape[1])


def _solved(
    columns: Array,
    series: Array,
    weights: Array,
    prior: _Annealing | None,
    generator: np.random.Generator | None = None,
) -> Array:
    """Coefficients; with a generator the prior is drawn anew for each series, as the residuals are."""
    if prior is None:
        return solve(columns, series, weights)[0]
    row = np.zeros((1, columns.shape[1]))
    row[0, -1] = prior.noise / prior.deviation
    draws = generator.standard_normal(series.shape[1]) if generator is not None else np.zeros(series.shape[1])
    value = row[0, -1] * (prior.mean + prior.deviation * draws)
    return solve(np.vstack([columns, row]), np.vstack([series, value[None]]), np.append(weights, 1.0))[0]


def _fitted(law: Law, tail: Tail, weights: Array, prior: _Annealing | None) -> _Fit:
    columns = law.columns(tail.spent, tail.share if prior is not None else None)
    some = _solved(columns, tail.values[:, None], weights, prior)[:, 0]
    curve = columns @ some
    surprise = 0.0 if prior is None else float(some[-1] - prior.mean) / prior.deviation
    return _Fit(columns, curve, float((weights * np.square(tail.values - curve)).sum()), surprise)


def _robust(tail: Tail, known: Sequence[Law], guesses: Sequence[_Annealing | None]) -> Array:
    """Huber's weights about the best law; ones where points are too few to call one of them an outlier."""
    weights = np.ones(len(tail))
    if len(tail) < 2 * MIN_POINTS:
        return weights
    for _ in range(3):
        fits = [_fitted(law, tail, weights, prior) for law, prior in zip(known, guesses, strict=True)]
        residuals = tail.values - min(fits, key=lambda fit: fit.left).curve
        scale = 1.4826 * float(np.median(np.abs(residuals)))
        if scale <= 0:
            break
        weights = np.minimum(1.0, HUBER * scale / np.maximum(np.abs(residuals), 1e-300))
    return weights


def _effective(residuals: Array) -> float:
    """Number of independent points, by the correlation of neighbours."""
    count = len(residuals)
    total = float(np.square(residuals).sum())
    if count < 2 * MIN_POINTS or total <= 0:
        return float(count)
    near = float(np.clip((residuals[1:] * residuals[:-1]).sum() / total, 0.0, 0.8))
    return max(float(MIN_POINTS), count * (1 - near) / (1 + near))


def _blocks(residuals: Array, parameters: int, count: int, generator: np.random.Generator) -> Array:
    """Residuals in moving blocks, shape ``(n, count)``."""
    size = len(residuals)
    length = max(1, round(size ** (1 / 3)))
    starts = generator.integers(0, size, (-(-size // length), count))
    index = (starts[:, None, :] + np.arange(length)[None, :, None]).reshape(-1, count)[:size] % size
    free = max(1, size - parameters)
    scale = np.sqrt(size / generator.chisquare(free, count))
    return np.asarray((residuals - residuals.mean())[index] * scale)
