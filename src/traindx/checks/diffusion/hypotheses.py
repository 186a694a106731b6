"""How well each explanation fits the fitted steps of a sampling loop: the exact step, and what else it might be.

Every explanation predicts (p, q, n) of every step; its misfit is the worst step's root mean square error in x, relative
to x. Nothing is decided here: rules compare misfits with their limits.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from traindx.checks.diffusion.formulas import MISTAKES, Array, Mistake, Pair, exact_step, written
from traindx.checks.diffusion.transitions import StepFit
from traindx.evidence.sampling import SamplerTransitions

SEEK_ABOVE = 2e-4
"""Misfit from which another explanation is sought. A thousand steps of 32-bit tables reach 1.7e-4."""

LARGEST_SHIFT = 250
"""Shifts of the told timestep that are tried either way: more than the stride of any loop of four steps or more."""


@dataclass(frozen=True)
class Chain:
    """The fitted steps of a run as arrays, with the ᾱ table.

    Attributes:
        kind: Prediction type that the denoiser answered in.
        table: ᾱ of training, or of sampling where the case keeps another.
        timesteps: Told at each step, shape ``(K,)``.
        following: Told at the step after; -1 after the last.
        last: True where a step is the last of the loop.
        p, q, n, offset, gram: See :class:`~traindx.checks.diffusion.transitions.StepFit`.
        alpha_in_x0: ᾱ inside the loop's own x̂0, where it could be read off; NaN elsewhere.
    """

    kind: str
    table: Array
    timesteps: NDArray[np.int64]
    following: NDArray[np.int64]
    last: NDArray[np.bool_]
    p: Array
    q: Array
    n: Array
    offset: Array
    gram: Array
    alpha_in_x0: Array

    @classmethod
    def of(
        cls,
        kind: str,
        table: Array,
        timesteps: Sequence[int],
        fits: Sequence[StepFit],
        alpha_in_x0: Sequence[float],
    ) -> Chain:
        """Gather fitted steps; ``timesteps`` are those of the whole run."""
        steps = [fit.step for fit in fits]
        last = np.array([step == len(timesteps) - 1 for step in steps])
        following = np.array([-1 if end else timesteps[step + 1] for step, end in zip(steps, last, strict=True)])
        return cls(
            kind=kind,
            table=table,
            timesteps=np.array([fit.timestep for fit in fits], dtype=np.int64),
            following=following.astype(np.int64),
            last=last,
            p=np.array([fit.p for fit in fits]),
            q=np.array([fit.q for fit in fits]),
            n=np.array([fit.n for fit in fits]),
            offset=np.array([fit.offset for fit in fits]),
            gram=np.array([fit.gram for fit in fits]),
            alpha_in_x0=np.array(alpha_in_x0, dtype=float),
        )

    def only(self, steps: NDArray[np.int64]) -> Chain:
        """Some of the steps."""
        names = ("timesteps", "following", "last", "p", "q", "n", "offset", "gram", "alpha_in_x0")
        return replace(self, **{name: getattr(self, name)[steps] for name in names})

    @property
    def ends(self) -> tuple[float, float]:
        """The two conventions of where the last step goes: ᾱ = 1 and ᾱ_0 (``set_alpha_to_one`` of diffusers)."""
        return 1.0, float(self.table[0])

    def levels(self, shift: Any = 0, end: float = 1.0) -> tuple[Array, Array]:
        """ᾱ at each step and at the next one, if the loop's own timesteps were shifted, but kept inside the table."""
        alpha = self._look_up(self.timesteps + shift)
        after = np.where(self.last, end, self._look_up(self.following + shift))
        return alpha, after

    def _look_up(self, index: NDArray[np.int64]) -> Array:
        found: Array = self.table[np.clip(index, 0, len(self.table) - 1)]
        return found

    def distance(self, predicted: Pair, n: Any = None) -> Array:
        """Misfit of each step from predicted coefficients of x̂0 and ε̂ (as told); infinite where there is none."""
        fresh = self.n if n is None else n
        dp, dq = self.p - predicted[0], self.q - predicted[1]
        wrong = _quadratic(self.gram, dp, dq) + self.offset**2 + (self.n - fresh) ** 2
        size = _quadratic(self.gram, predicted[0], predicted[1]) + np.asarray(fresh) ** 2
        with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
            value = np.sqrt(wrong / size)
        result: Array = np.where(np.isfinite(value), value, np.inf)
        return result

    def told(self, pair: Pair) -> Pair:
        """Coefficients of (x, output) as coefficients of (x̂0, ε̂) at the told timestep."""
        alpha = self.table[self.timesteps]
        a, s = np.sqrt(alpha), np.sqrt(np.clip(1 - alpha, 0, None))
        first, second = written(self.kind, a, s)
        with np.errstate(invalid="ignore"):
            return pair[0] * a + pair[1] * first, pair[0] * s + pair[1] * second

    def ctx(self, after: Array) -> Array:
        """Weight left for ε̂ when the fresh noise is taken off: sqrt(1 - ᾱ' - n²)."""
        ctx: Array = np.sqrt(np.clip(1 - after - self.n**2, 0, None))
        return ctx


def _quadratic(gram: Array, first: Any, second: Any) -> Array:
    first, second = np.asarray(first, float), np.asarray(second, float)
    value: Array = gram[:, 0, 0] * first**2 + 2 * gram[:, 0, 1] * first * second + gram[:, 1, 1] * second**2
    return value


@dataclass(frozen=True)
class ExactSteps:
    """The exact step that is nearest to each fitted one, among the accepted conventions.

    Attributes:
        misfit: Of each step.
        signal: Weight of x̂0.
        direction: Weight of ε̂.
        after: ᾱ that is stepped to.
    """

    misfit: Array
    signal: Array
    direction: Array
    after: Array


def transitions(chain: Chain, steps: ExactSteps) -> SamplerTransitions:
    """The steps of a run as evidence: what they did, and where the nearest exact steps would have gone."""
    alpha, _ = chain.levels()
    length = chain.p**2 + chain.q**2 + chain.n**2
    reached = chain.p**2 / np.where(length > 0, length, 1)
    return SamplerTransitions(
        timesteps=tuple(int(step) for step in chain.timesteps),
        alpha_bar=_floats(alpha),
        alpha_bar_next=_floats(steps.after),
        alpha_bar_reached=_floats(reached),
        timestep_reached=tuple(int(np.argmin(np.abs(np.sqrt(chain.table) - value**0.5))) for value in reached),
        p=_floats(chain.p),
        q=_floats(chain.q),
        n=_floats(chain.n),
        misfit=_floats(steps.misfit),
    )


def _floats(values: Array) -> tuple[float, ...]:
    return tuple(float(value) for value in values)


def exact(chain: Chain) -> ExactSteps:
    """The exact step for each fitted one, the last with the better of the two conventions of where to end.

    Two choices of the fresh noise are exact: any that is taken off the direction (DDIM with η, of which the DDPM
    posterior is η = 1), and the larger variance β of Ho et al. 2020, sec. 3.2, with the posterior's mean.
    """
    misfit = np.full(len(chain.p), np.inf)
    signal, direction, reached = np.ones_like(chain.p), np.zeros_like(chain.p), np.ones_like(chain.p)
    for end in chain.ends:
        alpha, after = chain.levels(end=end)
        b = np.sqrt(after)
        with np.errstate(divide="ignore", invalid="ignore"):
            beta = np.clip(1 - alpha / after, 0, None)
            posterior = np.where(alpha < 1, (1 - after) / (1 - alpha) * beta, 0.0)
        taken_off = (chain.ctx(after), np.minimum(chain.n, np.sqrt(np.clip(1 - after, 0, None))))
        enlarged = (np.sqrt(np.clip(1 - after - posterior, 0, None)), np.sqrt(beta))
        for weight, fresh in (taken_off, enlarged) if chain.n.any() else (taken_off,):
            found = chain.distance((b, weight), fresh)
            better = found < misfit
            misfit = np.where(better, found, misfit)
            signal, direction = np.where(better, b, signal), np.where(better, weight, direction)
            reached = np.where(better, after, reached)
    return ExactSteps(misfit, signal, direction, reached)


def as_type(chain: Chain, kind: str, own: Array) -> float:
    """Worst misfit if the loop reads the network's output as another prediction type."""
    return _worst(_with_formula(chain, lambda a, s, b, tau: exact_step(kind, a, s, b, tau)), own)


def shifted(chain: Chain) -> tuple[float, int]:
    """Best explanation by a loop whose own timesteps are ``told + shift``; returns misfit and shift."""
    reach = min(LARGEST_SHIFT, len(chain.table) - 1)
    shifts = np.array([shift for shift in range(-reach, reach + 1) if shift != 0])[:, None]
    found = np.full((len(shifts), len(chain.p)), np.inf)
    for end in chain.ends:
        alpha, after = chain.levels(shifts, end)
        a, s = np.sqrt(alpha), np.sqrt(np.clip(1 - alpha, 0, None))
        pair = exact_step(chain.kind, a, s, np.sqrt(after), chain.ctx(after))
        found = np.minimum(found, chain.distance(chain.told(pair)))
    worst = found.max(axis=1)
    if np.isfinite(chain.alpha_in_x0).any():
        read_off = np.abs(np.sqrt(chain.alpha_in_x0) - np.sqrt(chain.levels(shifts)[0]))
        worst = np.maximum(worst, np.nanmax(read_off, axis=1))
    best = int(np.argmin(worst))
    return float(worst[best]), int(shifts[best, 0])


def other_target(chain: Chain, own: Array) -> tuple[float, Array]:
    """If each step went from ᾱ[t] to the ᾱ that fits it best, and to less noise; returns misfit and those ᾱ."""
    length = np.sqrt(chain.p**2 + chain.q**2 + chain.n**2)
    with np.errstate(divide="ignore", invalid="ignore"):
        p, q, n = chain.p / length, chain.q / length, chain.n / length
    alpha, _ = chain.levels()
    forward = (p >= np.sqrt(alpha) - 1e-3) & (q >= -1e-6)
    misfit = np.where(forward, chain.distance((p, q), n), np.inf)
    return _worst(misfit, own), p**2


Ranking = list[tuple[Mistake, float]]
"""Mistakes with their misfits, best first."""


def mistakes(chain: Chain, own: Array) -> Ranking:
    """How well the known mistakes fit, with the ᾱ of the next timestep."""
    found = [
        (candidate, _worst(_with_formula(chain, _formula_of(candidate, chain.kind)), own))
        for candidate in MISTAKES
        if chain.kind in candidate.kinds
    ]
    return sorted(found, key=lambda item: item[1])


def mistakes_elsewhere(chain: Chain, own: Array) -> Ranking:
    """How well they fit if each step may also go to any ᾱ of the table; judged by up to 60 steps."""
    some = np.unique(np.append(np.linspace(0, len(own) - 1, 59).astype(int), np.argmax(own)))
    chain, own = chain.only(some), own[some]
    alpha = chain.table[chain.timesteps]
    a, s = np.sqrt(alpha), np.sqrt(np.clip(1 - alpha, 0, None))
    after = np.append(chain.table[:: max(1, len(chain.table) // 1000)], 1.0)[:, None] * np.ones(len(chain.p))
    b, ctx = np.sqrt(after), chain.ctx(after)
    found = []
    for candidate in MISTAKES:
        if chain.kind in candidate.kinds and candidate.quantity != "step":  # weights and target cannot both be free
            misfit = chain.distance(chain.told(candidate.step(chain.kind, a, s, b, ctx))).min(axis=0)
            found.append((candidate, _worst(misfit, own)))
    return sorted(found, key=lambda item: item[1])


def _formula_of(candidate: Mistake, kind: str) -> Any:
    return lambda a, s, b, tau: candidate.step(kind, a, s, b, tau)


def _with_formula(chain: Chain, formula: Any) -> Array:
    """Misfit of each step from a formula at the told levels, the last with the better convention."""
    found = np.full(len(chain.p), np.inf)
    for end in chain.ends:
        alpha, after = chain.levels(end=end)
        a, s = np.sqrt(alpha), np.sqrt(np.clip(1 - alpha, 0, None))
        found = np.minimum(found, chain.distance(chain.told(formula(a, s, np.sqrt(after), chain.ctx(after)))))
    return found


def other_table(chain: Chain) -> tuple[float, Array]:
    """If the whole chain followed another ᾱ table; returns the worst misfit and that ᾱ at each step.

    ε- and x0-steps tell the ᾱ they start from. A v-step depends on the angle between its two levels only, so there any
    chain is some table and only an x̂0 that was read off can say which.
    """
    levels = chain.alpha_in_x0.copy() if chain.kind == "v" else _starts(chain)
    if not np.isfinite(levels).all():
        return np.inf, levels
    best = (np.inf, levels)
    for end in chain.ends:
        start = levels.copy()
        after = np.append(start[1:], end)
        a, s = np.sqrt(start), np.sqrt(np.clip(1 - start, 0, None))
        misfit = float(chain.distance(chain.told(exact_step(chain.kind, a, s, np.sqrt(after), chain.ctx(after)))).max())
        if misfit < best[0]:
            best = (misfit, start)
    return best


def as_timesteps(levels: Array, table: Array) -> tuple[float, Array]:
    """Noise levels as timesteps of the table: how far the worst is from a whole one, and the nearest whole ones."""
    if not np.isfinite(levels).all():
        return np.inf, np.full(len(levels), -1)
    index = np.interp(-np.sqrt(levels), -np.sqrt(table), np.arange(len(table), dtype=float))
    whole = np.round(index)
    return float(np.abs(index - whole).max()), whole.astype(np.int64)


def _starts(chain: Chain) -> Array:
    """ᾱ that each step starts from, by itself: the coefficient of x gives the target level, that of the output the
    rest.

    A last step that returns x̂0 of an x0-prediction does not say; it starts where the one before it went to.
    """
    alpha = chain.table[chain.timesteps]
    a, s = np.sqrt(alpha), np.sqrt(np.clip(1 - alpha, 0, None))
    # (p, q) -> coefficients of (x, output): the output of an ε-prediction is ε̂, that of an x0-prediction is x̂0.
    with np.errstate(divide="ignore", invalid="ignore"):
        of_x = chain.p / a if chain.kind == "epsilon" else chain.q / s
        of_output = chain.q - of_x * s if chain.kind == "epsilon" else chain.p - of_x * a
    says = np.isfinite(of_x) & (np.abs(of_x) > 1e-6)
    found = np.full(len(chain.p), np.nan)
    found[says] = _solve_starts(chain.kind, of_x[says], of_output[says], chain.n[says])
    if len(found) > 1 and not says[-1] and says[-2]:  # x̂0 as it is: take the level that the step before went to
        near = found[-2] if chain.kind == "epsilon" else 1 - found[-2]
        reached = of_x[-2] ** 2 * near
        found[-1] = reached if chain.kind == "epsilon" else 1 - chain.n[-2] ** 2 - reached
    return found


def _solve_starts(kind: str, of_x: Array, of_output: Array, n: Array) -> Array:
    """The level each of some steps starts from: a search over the angle, refined six times."""
    low, high = np.full(len(of_x), 1e-9), np.full(len(of_x), np.pi / 2 - 1e-9)
    angle = np.full(len(of_x), np.nan)
    unit = np.linspace(0, 1, 801)
    for _ in range(6):
        grid = low[:, None] + (high - low)[:, None] * unit
        a, s = np.cos(grid), np.sin(grid)
        near, far = (a, s) if kind == "epsilon" else (s, a)
        with np.errstate(invalid="ignore"):
            reached = np.sqrt(1 - (of_x[:, None] * near) ** 2 - n[:, None] ** 2)
        error = np.abs(reached - of_x[:, None] * far - of_output[:, None])
        error = np.where(np.isnan(error), np.inf, error)
        best = error.argmin(axis=1)
        nearest = np.take_along_axis(grid, best[:, None], axis=1)[:, 0]
        angle = np.where(np.isfinite(error.min(axis=1)), nearest, np.nan)
        width = (high - low) / 800
        low, high = np.clip(angle - 2 * width, 1e-12, None), np.clip(angle + 2 * width, None, np.pi / 2)
    solved: Array = np.cos(angle) ** 2
    return solved


def told_alpha_error(chain: Chain) -> float:
    """Largest ``|sqrt(ᾱ used) - sqrt(ᾱ[t])|`` where the loop's x̂0 could be read off; NaN where it never could."""
    difference = np.abs(np.sqrt(chain.alpha_in_x0) - np.sqrt(chain.table[chain.timesteps]))
    return float(np.nanmax(difference)) if np.isfinite(difference).any() else float("nan")


def _worst(candidate: Array, own: Array) -> float:
    """Worst step, where a step that is exact anyway needs no explanation."""
    return float(np.minimum(candidate, own).max())
