"""S505 time-scaling-differs, seen in a watched script."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed import ObservedTime
from traindx.evidence.sampling import TimeArgument
from traindx.finding import Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "S505",
    "time-scaling-differs",
    Severity.CRITICAL,
    needs=(ObservedTime,),
    looked_at=(
        requires(
            ObservedTime,
            lambda time, limits: time.phase == "sampling" and time.distinct >= limits.observed_values,
            otherwise="no sampling loop was seen",
        ),
        requires(
            ObservedTime,
            lambda time, limits: (
                time.phase == "training" and time.distinct >= limits.observed_values and not walks(time)
            ),
            otherwise="no time that is drawn was seen in training",
        ),
    ),
    observed_factor=Threshold(
        4.0,
        "largest time in one phase over the other; few random draws miss the top half, rarely the top three quarters",
    ),
    observed_values=Threshold(3, "distinct times seen in a phase"),
)
def time_differs_between_phases(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The same argument of the same network spans another range in the sampling loop than in training.

    Read off the calls of the network: 0 to 1 in training and 0 to 999 in sampling are not the same time. One of the two
    must be whole numbers, the index of a timestep: times that are fractions in both phases may rightly differ in range
    (a solver of differential equations, noise levels drawn log-normally), and nothing is said of them, nor of a time
    that walks from call to call within one training step, which is an integrator's.
    """
    times = evidence.of(ObservedTime)
    by_timestep = {record.where for record in evidence.of(TimeArgument) if record.phase == "sampling"}
    for sampling in times:
        if sampling.where in by_timestep:
            continue  # known timestep by timestep, which tells more than the range
        if sampling.phase != "sampling" or sampling.distinct < limits.observed_values:
            continue
        for training in times:
            same = training.network == sampling.network and training.argument == sampling.argument
            if training.phase != "training" or not same or training.distinct < limits.observed_values:
                continue
            if not (sampling.integer or training.integer):
                continue  # solvers of differential equations and noise levels drawn log-normally span what they span
            if walks(training):
                continue
            top, bottom = max(map(abs, (sampling.low, sampling.high))), max(map(abs, (training.low, training.high)))
            factor = max(top, 1e-12) / max(bottom, 1e-12)
            if 1 / limits.observed_factor < factor < limits.observed_factor:
                continue
            yield Found(
                message=f"{sampling.network} gets times from {training.low:g} to {training.high:g} in training and "
                f"from {sampling.low:g} to {sampling.high:g} in the sampling loop.",
                standing=Standing.DEMONSTRATED,
                location=sampling.where,
                numbers={
                    "training_low": training.low,
                    "training_high": training.high,
                    "sampling_low": sampling.low,
                    "sampling_high": sampling.high,
                },
                remedy="Scale the time in one function that training and sampling both call.",
                proposals=(Proposal(treatment="time-as-in-training", parameters={"scale": 1 / factor, "offset": 0.0}),),
            )


def walks(time: ObservedTime) -> bool:
    """One time a call, and many calls a step: an integrator's, and not drawn for every sample."""
    return time.per_call == 1 and time.in_a_row >= 3
