"""What the rules about optimisation share: trend of a loss, and the loss that an optimiser follows."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import median

from traindx.evidence.base import Evidence
from traindx.evidence.observed import Ending, LossSeries, ScriptRun
from traindx.evidence.observed_optim import OptimizerSeen
from traindx.finding import Location, Proposal
from traindx.rules.base import Limits, Nothing


def finite(values: Sequence[float]) -> list[float]:
    """The finite ones."""
    return [value for value in values if math.isfinite(value)]


def ends(values: Sequence[float], share: float = 0.15) -> tuple[float, float]:
    """Median of the first and of the last part of a series; NaN where there are fewer than six finite values."""
    known = finite(values)
    if len(known) < 6:
        return math.nan, math.nan
    part = max(2, round(share * len(known)))
    return median(known[:part]), median(known[-part:])


def lower_rates(largest: float) -> tuple[Proposal, Proposal]:
    """Two rates to try: the power of ten at or below a factor (0.1 at most, 1e-4 at least), and the next lower one."""
    exponent = min(-1, max(-4, math.floor(math.log10(largest) + 1e-9))) if largest > 0 else -4
    first, second = (
        Proposal(treatment="learning-rate", parameters={"factor": float(f"1e{k}")}) for k in (exponent, exponent - 1)
    )
    return first, second


def series_of(evidence: Evidence, optimizer: OptimizerSeen) -> LossSeries | None:
    """The loss whose backward pass comes before an optimiser's steps."""
    for series in evidence.of(LossSeries):
        if series.where == optimizer.backward:
            return series
    return None


def optimizer_at(evidence: Evidence, made: Location | None, name: str) -> OptimizerSeen | None:
    """The optimiser that a group record belongs to."""
    for optimizer in evidence.of(OptimizerSeen):
        if optimizer.where == made and optimizer.optimizer == name:
            return optimizer
    return None


def finished(evidence: Evidence) -> bool:
    """The script was watched to its own end, so what did not happen will not happen."""
    run = evidence.last(ScriptRun)
    return run is not None and run.ending is Ending.FINISHED and not run.window_ended


def times(count: int, noun: str) -> str:
    """``1 step``, ``3 steps``."""
    return f"{count} {noun}{'' if count == 1 else 's'}"


def one_optimizer(evidence: Evidence, limits: Limits) -> Nothing | None:
    """For ``looked_at``: the losses of adversaries need not fall, so several optimisers are not judged."""
    stepping = sum(1 for optimizer in evidence.of(OptimizerSeen) if optimizer.steps)
    if stepping == 1:
        return None
    return Nothing("several optimisers take steps" if stepping else "no optimiser of torch took a step")
