"""A prognosis in two sentences."""

from __future__ import annotations

import math

from traindx.prognosis.curve import LearningCurve
from traindx.prognosis.forecast import Interval
from traindx.prognosis.prognosis import Prognosis, State


def format_prognosis(curve: LearningCurve, found: Prognosis) -> str:
    """What a curve says of going on, with its numbers and what is assumed."""
    what, unit = curve.name, f" {curve.unit}" if curve.unit else ""
    forecast = found.forecast
    now = f"{what} is {forecast.level:.4g}{unit} after {forecast.seen:.0f} steps"
    gain = f"{forecast.gain.middle:+.3g}{unit} (80 % interval {forecast.gain.low:+.3g} to {forecast.gain.high:+.3g})"
    there = f"to step {forecast.at:.0f}"
    match found.state:
        case State.UNDER_TRAINED:
            verdict = f"Under-trained: {now}, and a run {there} would gain {gain}, more than {found.worth:.3g}{unit}."
            rest = _stop(found.stop, found.worth, unit)
        case State.CONVERGED:
            verdict = f"Converged: {now}, and a run {there} would gain {gain}, less than {found.worth:.3g}{unit}."
            rest = f"Stop here; the best value was seen at step {found.best:.0f}."
        case State.STUCK:
            verdict = f"Stuck: {now}, {found.learned:+.3g}{unit} since the start, and a run {there} would gain {gain}."
            rest = "More steps will not help; look for what keeps it from learning."
        case _:
            verdict = (
                f"Undecided: {now}; a run {there} would gain {gain}, which may be less than {found.worth:.3g}{unit}."
            )
            rest = "What was seen does not tell whether more steps are worth while."
    return f"{verdict} {rest}{_assumed(curve)}"


def _stop(stop: Interval, worth: float, unit: str) -> str:
    if math.isinf(stop.middle):
        return f"Doubling the steps stays worth {worth:.3g}{unit} for as long as can be foreseen."
    high = f"{stop.high:.0f}" if math.isfinite(stop.high) else "beyond what can be foreseen"
    return (
        f"From about {stop.middle:.0f} steps on (interval {stop.low:.0f} to {high}) doubling them gains less than that."
    )


def _assumed(curve: LearningCurve) -> str:
    if curve.schedule.constant:
        return ""
    return " A longer run means the same schedule of the learning rate stretched, from the start; not a few more steps."
