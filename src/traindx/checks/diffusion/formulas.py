r"""Right and wrong formulas of a sampling step, each as coefficients of x and of the network's output.

Whatever a one-step sampler does, if it is linear it returns ``c1 x + c2 output`` (plus fresh noise). With
:math:`a=\sqrt{\bar\alpha_t}`, :math:`\sigma=\sqrt{1-\bar\alpha_t}`, :math:`b=\sqrt{\bar\alpha'}` and
:math:`\tau=\sqrt{1-\bar\alpha'}` of the level that is stepped to, the exact step is :math:`b\hat x_0 +
\tau\hat\epsilon` (DDIM, Song et al. 2021, eq. 12); with fresh noise of standard deviation n it is :math:`b\hat x_0 +
\sqrt{\tau^2 - n^2}\,\hat\epsilon + n z`.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Pair = tuple[Any, Any]
"""Coefficients of (x, output), floats or arrays."""


def read(kind: str, a: Any, s: Any) -> tuple[Pair, Pair]:
    """x̂0 and ε̂ from x and the output of a prediction type (Salimans and Ho 2022, app. D)."""
    with np.errstate(divide="ignore", invalid="ignore"):
        if kind == "epsilon":
            return (1 / a, -s / a), (0 * a, 1 + 0 * a)
        if kind == "sample":
            return (0 * a, 1 + 0 * a), (1 / s, -a / s)
        return (a, -s), (s, a)


def written(kind: str, a: Any, s: Any) -> Pair:
    """The output of a prediction type as coefficients of (x̂0, ε̂)."""
    if kind == "epsilon":
        return 0 * a, 1 + 0 * a
    if kind == "sample":
        return 1 + 0 * a, 0 * a
    return -s, a


def combine(first: Any, x0: Pair, second: Any, noise: Pair) -> Pair:
    """``first * x0 + second * noise``, where a coefficient of zero wins over a division by zero."""
    return _times(first, x0[0]) + _times(second, noise[0]), _times(first, x0[1]) + _times(second, noise[1])


def _times(factor: Any, value: Any) -> Any:
    with np.errstate(invalid="ignore"):
        return np.where(np.asarray(factor) == 0, 0.0, np.asarray(factor) * np.asarray(value))


def exact_step(kind: str, a: Any, s: Any, b: Any, tau: Any) -> Pair:
    """The right step from (a, s) to (b, tau)."""
    x0, noise = read(kind, a, s)
    return combine(b, x0, tau, noise)


@dataclass(frozen=True)
class Mistake:
    """A formula that is often written by mistake.

    Attributes:
        name: Short and stable.
        words: The wrong formula, as one would write it.
        right: The right one.
        quantity: What is computed wrongly: ``x0``, ``eps`` or ``step``.
        kinds: Prediction types it can happen with.
        value: ``(kind, a, s) ->`` the wrong quantity as coefficients of (x, output); None for a step.
        step: ``(kind, a, s, b, tau) ->`` the wrong result of the whole step.
    """

    name: str
    words: str
    right: str
    quantity: str
    kinds: tuple[str, ...]
    step: Callable[[str, Any, Any, Any, Any], Pair]
    value: Callable[[str, Any, Any], Pair] | None = None


ALL = ("epsilon", "v", "sample")
OUTPUT_AS_NOISE = "epsilon-is-output"
"""The one mistake that no line needs to compute."""
_RIGHT_EPS = "ε̂ = (x − √ᾱ·x̂0)/√(1−ᾱ)"
_RIGHT_X0 = {"v": "x̂0 = √ᾱ·x − √(1−ᾱ)·v̂", "epsilon": "x̂0 = (x − √(1−ᾱ)·ε̂)/√ᾱ"}
_RIGHT_STEP = "x' = √ᾱ'·x̂0 + √(1−ᾱ')·ε̂, with ᾱ' of the next timestep"


def _of_x0(form: Callable[[Any, Any], tuple[Any, Any]]) -> Callable[[str, Any, Any], Pair]:
    """ε̂ = f x + g x̂0, with the right x̂0; ``form(a, s)`` gives (f, g)."""

    def value(kind: str, a: Any, s: Any) -> Pair:
        f, g = form(a, s)
        x0, _ = read(kind, a, s)
        return f + _times(g, x0[0]), _times(g, x0[1])

    return value


def _wrong_eps(name: str, words: str, value: Callable[[str, Any, Any], Pair], kinds: tuple[str, ...] = ALL) -> Mistake:
    def step(kind: str, a: Any, s: Any, b: Any, tau: Any) -> Pair:
        return combine(b, read(kind, a, s)[0], tau, value(kind, a, s))

    right = _RIGHT_EPS if "v̂" not in words else "ε̂ = √ᾱ·v̂ + √(1−ᾱ)·x"
    return Mistake(name, f"ε̂ = {words}", right, "eps", kinds, step, value)


def _wrong_x0(name: str, words: str, kind: str, value: Callable[[Any, Any], Pair], *, derived: bool) -> Mistake:
    """A wrong x̂0; ``derived`` if ε̂ is then computed from it rather than from the output."""

    def wrong(_: str, a: Any, s: Any) -> Pair:
        return value(a, s)

    def step(own: str, a: Any, s: Any, b: Any, tau: Any) -> Pair:
        x0 = value(a, s)
        with np.errstate(divide="ignore", invalid="ignore"):
            noise = ((1 - a * x0[0]) / s, -a * x0[1] / s) if derived else read(own, a, s)[1]
        return combine(b, x0, tau, noise)

    return Mistake(name, f"x̂0 = {words}", _RIGHT_X0[kind], "x0", (kind,), step, wrong)


def _wrong_step(name: str, words: str, weights: Callable[[Any, Any, Any, Any], tuple[Any, Any]]) -> Mistake:
    """Right x̂0 and ε̂, put together with wrong weights ``(a, s, b, tau) -> (of x̂0, of ε̂)``."""

    def step(kind: str, a: Any, s: Any, b: Any, tau: Any) -> Pair:
        x0, noise = read(kind, a, s)
        first, second = weights(a, s, b, tau)
        return combine(first, x0, second, noise)

    return Mistake(name, f"x' = {words}", _RIGHT_STEP, "step", ALL, step)


def _posterior_mean(a: Any, s: Any, b: Any, tau: Any) -> tuple[Any, Any]:
    """Weights of the DDPM posterior mean (Ho et al. 2020, eq. 7), written for x̂0 and ε̂."""
    with np.errstate(divide="ignore", invalid="ignore"):
        fresh = np.where(s > 0, tau**2 / s**2 * (1 - a**2 / b**2), 0.0)
    return b, np.sqrt(np.clip(tau**2 - fresh, 0, None))


MISTAKES: tuple[Mistake, ...] = (
    _wrong_eps("epsilon-terms-swapped", "(√ᾱ·x − x̂0)/√(1−ᾱ)", _of_x0(lambda a, s: (a / s, -1 / s))),
    _wrong_eps("epsilon-sign", "(√ᾱ·x̂0 − x)/√(1−ᾱ)", _of_x0(lambda a, s: (-1 / s, a / s))),
    _wrong_eps("epsilon-forgets-sqrt-alpha", "(x − x̂0)/√(1−ᾱ)", _of_x0(lambda a, s: (1 / s, -1 / s))),
    _wrong_eps("epsilon-forgets-root", "(x − √ᾱ·x̂0)/(1−ᾱ)", _of_x0(lambda a, s: (1 / s**2, -a / s**2))),
    _wrong_eps("epsilon-alpha-without-root", "(x − ᾱ·x̂0)/√(1−ᾱ)", _of_x0(lambda a, s: (1 / s, -(a**2) / s))),
    _wrong_eps("epsilon-not-divided", "x − √ᾱ·x̂0", _of_x0(lambda a, s: (1 + 0 * a, -a))),
    _wrong_eps("epsilon-coefficients-swapped", "(x − √(1−ᾱ)·x̂0)/√ᾱ", _of_x0(lambda a, s: (1 / a, -s / a))),
    _wrong_eps("epsilon-from-v-sign", "√ᾱ·v̂ − √(1−ᾱ)·x", lambda _, a, s: (-s, a), ("v",)),
    _wrong_eps("epsilon-from-v-swapped", "√(1−ᾱ)·v̂ + √ᾱ·x", lambda _, a, s: (a, s), ("v",)),
    _wrong_eps(OUTPUT_AS_NOISE, "the network's output", lambda _, a, s: (0 * a, 1 + 0 * a), ("v", "sample")),
    *(
        mistake
        for derived in (True, False)
        for mistake in (
            _wrong_x0("x0-sign", "√ᾱ·x + √(1−ᾱ)·v̂", "v", lambda a, s: (a, s), derived=derived),
            _wrong_x0("x0-swapped", "√(1−ᾱ)·x − √ᾱ·v̂", "v", lambda a, s: (s, -a), derived=derived),
            _wrong_x0("x0-without-roots", "ᾱ·x − (1−ᾱ)·v̂", "v", lambda a, s: (a**2, -(s**2)), derived=derived),
            _wrong_x0(
                "x0-from-epsilon-sign", "(x + √(1−ᾱ)·ε̂)/√ᾱ", "epsilon", lambda a, s: (1 / a, s / a), derived=derived
            ),
            _wrong_x0("x0-not-divided", "x − √(1−ᾱ)·ε̂", "epsilon", lambda a, s: (1 + 0 * a, -s), derived=derived),
            _wrong_x0(
                "x0-noise-without-root",
                "(x − (1−ᾱ)·ε̂)/√ᾱ",
                "epsilon",
                lambda a, s: (1 / a, -(s**2) / a),
                derived=derived,
            ),
            _wrong_x0(
                "x0-alpha-without-root",
                "(x − √(1−ᾱ)·ε̂)/ᾱ",
                "epsilon",
                lambda a, s: (1 / a**2, -s / a**2),
                derived=derived,
            ),
            _wrong_x0(
                "x0-coefficients-swapped", "(x − √ᾱ·ε̂)/√(1−ᾱ)", "epsilon", lambda a, s: (1 / s, -a / s), derived=derived
            ),
        )
    ),
    _wrong_step("direction-of-current-level", "√ᾱ'·x̂0 + √(1−ᾱ)·ε̂", lambda a, s, b, tau: (b, s)),
    _wrong_step("signal-of-current-level", "√ᾱ·x̂0 + √(1−ᾱ')·ε̂", lambda a, s, b, tau: (a, tau)),
    _wrong_step("x0-not-scaled", "x̂0 + √(1−ᾱ')·ε̂", lambda a, s, b, tau: (1 + 0 * b, tau)),
    _wrong_step("noise-dropped", "√ᾱ'·x̂0", lambda a, s, b, tau: (b, 0 * b)),
    _wrong_step("returns-x0", "x̂0", lambda a, s, b, tau: (1 + 0 * b, 0 * b)),
    _wrong_step("direction-sign", "√ᾱ'·x̂0 − √(1−ᾱ')·ε̂", lambda a, s, b, tau: (b, -tau)),
    _wrong_step("levels-without-roots", "ᾱ'·x̂0 + (1−ᾱ')·ε̂", lambda a, s, b, tau: (b**2, tau**2)),
    _wrong_step("direction-without-root", "√ᾱ'·x̂0 + (1−ᾱ')·ε̂", lambda a, s, b, tau: (b, tau**2)),
    _wrong_step("weights-swapped", "√(1−ᾱ')·x̂0 + √ᾱ'·ε̂", lambda a, s, b, tau: (tau, b)),
    _wrong_step(
        "posterior-mean-without-its-noise", "the mean of the DDPM posterior, without its noise", _posterior_mean
    ),
)
"""Known mistakes. The first is that of a published X-ray-to-CT project (with a right x̂0 of a v-prediction it is the
output v̂ itself); the others are its neighbours: a sign, a root, a swap or a forgotten factor in each term of eq. 9 and
12 of Song et al. 2021. Some give the same step; which one is in the code is told by the values of its lines."""
