"""What is wrong with a traced sampling loop: one cause a run, so that one fault is reported by one rule.

The explanations are tried from the most specific to the least. One that predicts every coefficient of every step to
rounding error is not a coincidence: with ten steps that is twenty numbers.
"""

from __future__ import annotations

import math
from itertools import pairwise
from typing import Literal, TypedDict

from traindx.evidence.base import Evidence
from traindx.evidence.sampling import SamplerRun
from traindx.rules.base import Limits, Threshold

Cause = Literal[
    "exact", "upwards", "no clock", "not finite", "unclear", "prediction", "time", "formula", "target", "table"
]


class CauseThresholds(TypedDict):
    """The limits that all rules on the sampling loop share."""

    max_misfit: Threshold
    explained: Threshold
    better: Threshold
    whole: Threshold


THRESHOLDS: CauseThresholds = {
    "max_misfit": Threshold(
        1e-3,
        "relative error of one step; correct loops of 5 to 50 steps reach 1e-16 to 2e-5 (multistep solvers), those of "
        "1000 steps in 32 bit 2.2e-4; stepping to the ᾱ of the neighbouring timestep out of 1000 gives 2e-3 to 7e-3",
    ),
    "explained": Threshold(
        1e-3, "largest misfit of a true explanation: up to 3e-8 in 64 bit, 2e-4 where a library computes in 32 bit"
    ),
    "better": Threshold(
        0.1,
        "misfit of an explanation relative to that of the exact step; among those below, the best counts, and any "
        "other only if it is within three times of it",
    ),
    "whole": Threshold(
        0.02, "distance from whole timesteps up to which noise levels are training's own; by chance it is 0.5 at worst"
    ),
}


def tolerance(run: SamplerRun, limits: Limits) -> float:
    """Largest misfit of a correct loop: the limit, or what its number format and unseen noise leave."""
    return max(limits.max_misfit, 20 * run.resolution, 5 * run.statistical_error)


def cause_of(run: SamplerRun, limits: Limits) -> Cause:
    """The cause of one run's misfit."""
    steps = run.timesteps
    if len(steps) > 2 and len(set(steps)) == 1:
        return "no clock"
    if len(steps) > 2 and all(later > earlier for earlier, later in pairwise(steps)):
        return "upwards"
    allowed = tolerance(run, limits)
    off_clock = run.told_alpha_error > allowed  # False where x̂0 could not be read off (NaN)
    if run.misfit <= allowed and not off_clock:
        return "not finite" if run.nonfinite_step >= 0 else "exact"
    if run.residual > max(limits.max_misfit, 20 * run.resolution):
        return "unclear"
    explanations: tuple[tuple[Cause, float], ...] = (
        ("prediction", _other_reading(run)[1]),
        ("time", run.misfit_shifted),
        ("formula", run.misfit_mistake),
        ("target", math.inf if off_clock else run.misfit_other_target),
        ("table", run.misfit_other_table),
    )
    # The first that fits about as well as the best: the more general ones fit wherever a special one does.
    best = min(misfit for _, misfit in explanations)
    for cause, misfit in explanations:
        if misfit <= 3 * best + 1e-9 and explains(run, misfit, limits):
            # Another table that consists of training's own levels is training's table at other timesteps.
            return "time" if cause == "table" and run.other_table_off_timesteps <= limits.whole else cause
    # Nothing explains it. If the steps are right and only x̂0 seems to be at another level, nothing is wrong with x.
    return "exact" if run.misfit <= allowed else "formula"


def explains(run: SamplerRun, misfit: float, limits: Limits) -> bool:
    """True if an explanation with this misfit accounts for a run."""
    floor = max(20 * run.resolution, 5 * run.statistical_error)
    return misfit <= max(limits.explained, floor) and misfit <= max(limits.better * run.misfit, floor, 1e-6)


def read_as(run: SamplerRun) -> str:
    """The prediction type that the loop reads the network's output as, where that is the cause."""
    return _other_reading(run)[0]


def _other_reading(run: SamplerRun) -> tuple[str, float]:
    readings = {"epsilon": run.misfit_as_epsilon, "v": run.misfit_as_v, "sample": run.misfit_as_sample}
    others = {kind: misfit for kind, misfit in readings.items() if kind != run.prediction and not math.isnan(misfit)}
    if not others:
        return "", float("inf")
    best = min(others, key=lambda kind: others[kind])
    return best, others[best]


def runs_with(evidence: Evidence, limits: Limits, *causes: Cause) -> list[SamplerRun]:
    """The worst run of each of some causes (a loop is run with several batch sizes)."""
    worst: dict[Cause, SamplerRun] = {}
    for run in evidence.of(SamplerRun):
        cause = cause_of(run, limits)
        if cause in causes and (cause not in worst or run.misfit > worst[cause].misfit):
            worst[cause] = run
    return list(worst.values())


def consequence(run: SamplerRun) -> str:
    """What the fault does to the samples of a known Gaussian, in words; empty where it was not measured."""
    if math.isnan(run.deviation):
        return ""
    return (
        f" With an exact denoiser of N({run.mean:.2g}, {run.sd:.2g}²) the output is off by up to "
        f"{run.deviation:.2g}, and "
        f"its standard deviation is {run.output_sd:.2g} where these {len(run.timesteps)} steps should give "
        f"{run.expected_sd:.2g}."
    )


def numbers_of(run: SamplerRun) -> dict[str, float | int | str | bool]:
    """The figures behind a finding on a run."""
    found: dict[str, float | int | str | bool] = {
        "misfit": run.misfit,
        "steps": len(run.timesteps),
        "worst_step": run.worst_step + 1,
        "timestep": run.timesteps[run.worst_step],
        "batch": run.batch,
    }
    if not math.isnan(run.deviation):
        found |= {
            "max_deviation": run.deviation,
            "output_sd": run.output_sd,
            "expected_sd": run.expected_sd,
            "output_mean": run.output_mean,
            "expected_mean": run.expected_mean,
        }
    return found


def number(value: float) -> str:
    """A number for a message: three digits, no exponent where it can be avoided."""
    return f"{value:.3g}"


def explained(run: SamplerRun, limits: Limits) -> bool:
    """For ``looked_at``: the loop's steps could be taken apart, so that silence means that they are right."""
    return cause_of(run, limits) not in ("unclear", "no clock")
