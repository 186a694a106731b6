"""O407 scheduler-misused, seen in the first steps of a case."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.optimisation import FirstSteps
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "O407",
    "scheduler-misused",
    Severity.CRITICAL,
    needs=(FirstSteps,),
    fall=Threshold(10.0, "times; warm-ups rise, and no decay in use divides the rate by ten after one step"),
)
def rate_is_put_back(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The learning rate of the first step is gone at the second: something puts another one back.

    A schedule that was made before the rate was set by hand keeps its own base rate and restores it when it is first
    stepped. ``demonstrated`` where the rate falls by more than ``fall`` after one step and stays there.
    """
    for record in evidence.of(FirstSteps):
        first, rest = record.rates[0], record.rates[1:]
        if not rest or max(rest) <= 0 or first / max(rest) < limits.fall:
            continue
        yield Found(
            message=f"{record.optimizer} takes its first step with a learning rate of {first:.2g} and the following "
            f"ones with {rest[-1]:.2g}: a schedule that was made earlier puts its own rate back.",
            standing=Standing.DEMONSTRATED,
            location=record.where,
            numbers={"first_rate": first, "then": rest[-1]},
            remedy="Give the rate to the optimiser before the schedule is made, or make the schedule anew.",
        )
