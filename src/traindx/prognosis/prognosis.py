"""Under-trained, stuck or converged: what a curve says of going on, with the gain that is left and where to stop."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from traindx.prognosis.curve import LearningCurve
from traindx.prognosis.ensemble import Ensemble
from traindx.prognosis.forecast import FARTHEST, LEVEL, Forecast, Interval, checked, forecast_of

AHEAD = 2.0  # times the steps seen, where no step is named: the smallest change of a plan that is worth a decision
START = 0.25  # of the steps seen; a log that begins later (of a resumed run) does not show where the run began
WORTH_OF_LOSS = 0.02  # of a loss: less is within what another seed changes
WORTH = {"psnr": 0.15, "dice": 0.005, "iou": 0.005, "auc": 0.005, "auroc": 0.005, "acc": 0.005, "ssim": 0.003}


class State(StrEnum):
    """What a curve says of going on."""

    UNDER_TRAINED = "under-trained"
    CONVERGED = "converged"
    STUCK = "stuck"
    UNDECIDED = "undecided"


@dataclass(frozen=True)
class Prognosis:
    """What a curve says of going on.

    Attributes:
        state: In one word. Under-trained only if the whole interval of the gain is above ``worth``; converged or stuck
            only if the whole of it is below; else undecided. Stuck is what has not learned anything to speak of.
        forecast: The curve at the later step.
        worth: The gain from which on going on is worth while, in units of the figure.
        learned: What was gained since the first points, or over the reference where there is one; positive is better.
        stop: From which number of steps on doubling them gains less than ``worth``, with the interval of it; infinite
            where it lies beyond what can be foreseen.
        best: Step of the best value seen.
    """

    state: State
    forecast: Forecast
    worth: float
    learned: float
    stop: Interval
    best: float


def prognosis(
    curve: LearningCurve,
    at: float | None = None,
    *,
    worth: float | None = None,
    reference: float | None = None,
    level: float = LEVEL,
    seed: int = 0,
) -> Prognosis:
    """Judge a curve.

    Args:
        curve: What is known; the schedule is stretched where the later step lies beyond it.
        at: The later step; twice the steps seen by default.
        worth: The gain that is worth the steps, in units of the figure; see :func:`worth_of`.
        reference: What a trivial predictor reaches: a flat curve that is no better is stuck, not converged.
        level: Probability of the intervals.
        seed: Of the bootstrap.

    Raises:
        InputError: There are too few points, or the step is not later, or too far away.
    """
    step = AHEAD * curve.last if at is None else at
    checked(curve, step)
    ensemble = Ensemble.of(curve, seed=seed)
    found = forecast_of(ensemble, step, level)
    usual = worth_of(curve, found.level)
    wanted = usual if worth is None else worth
    learned = _learned(curve, found.level, reference)
    if found.gain.low >= wanted:
        state = State.UNDER_TRAINED
    elif found.gain.high >= wanted:
        state = State.UNDECIDED
    else:
        begun = reference is not None or curve.steps[0] <= START * curve.last
        state = State.STUCK if begun and learned < min(wanted, usual) else State.CONVERGED
    return Prognosis(state, found, wanted, learned, _stop(ensemble, wanted, level), _best(curve))


def worth_of(curve: LearningCurve, level: float) -> float:
    """The gain from which on more steps are worth while, where nobody says: by the figure's name, else 2 % of it."""
    name = curve.name.lower()
    for word, amount in WORTH.items():
        if word in name and curve.higher_is_better:
            return amount
    return WORTH_OF_LOSS * abs(level)


def _learned(curve: LearningCurve, level: float, reference: float | None) -> float:
    sign = 1.0 if curve.higher_is_better else -1.0
    values = np.asarray([value for value in curve.values if np.isfinite(value)])
    first = float(np.median(values[: max(1, min(3, len(values) // 5))])) if reference is None else reference
    return sign * (level - first)


def _best(curve: LearningCurve) -> float:
    pick = np.nanargmax if curve.higher_is_better else np.nanargmin
    return float(curve.steps[int(pick(curve.values))])


def _stop(ensemble: Ensemble, worth: float, level: float) -> Interval:
    """The first step from which on doubling gains less than what is worth while, replicate by replicate."""
    now = ensemble.curve.last
    steps = now * np.geomspace(1.0, FARTHEST, 25)
    curves = ensemble.at(list(np.concatenate([steps, 2 * steps])))
    enough = curves[:, :25] - curves[:, 25:] < worth
    stops = np.where(enough.any(1), steps[enough.argmax(1)], np.inf)
    quantiles = np.quantile(stops, [(1 - level) / 2, 0.5, (1 + level) / 2], method="inverted_cdf")
    return Interval(*(float(value) for value in quantiles))
