"""Learning curves: under-trained, stuck or converged, with a forecast and its interval. Numbers only, no networks."""

from __future__ import annotations

from traindx.prognosis.curve import LearningCurve, Schedule
from traindx.prognosis.forecast import Forecast, Interval, forecast
from traindx.prognosis.prognosis import Prognosis, State, prognosis

__all__ = ["Forecast", "Interval", "LearningCurve", "Prognosis", "Schedule", "State", "forecast", "prognosis"]
