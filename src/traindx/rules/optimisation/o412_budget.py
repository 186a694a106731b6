"""O412 too-few-updates, decided from the optimiser of a case."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.model_in_use import UpdateBudget
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "O412",
    "too-few-updates",
    Severity.MAJOR,
    needs=(UpdateBudget,),
    spent=Threshold(0.02, "share of calls times rate; a cosine spends 0.5, accumulation over 8 with a cosine 0.06"),
)
def update_budget_is_starved(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A training whose optimiser does next to nothing: few updates, and those at a fraction of the rate.

    The optimiser is played through a whole training on a parameter of its own. ``suspected`` where the sum of the rates
    of all updates is below ``spent`` of what as many updates at the given rate would be: accumulation and warm-up
    together eat the training, though either alone is common.
    """
    for seen in evidence.of(UpdateBudget):
        if seen.spent >= limits.spent:
            continue
        yield Found(
            message=f"In {seen.calls} steps the optimiser updates {seen.updates} times, at rates up to "
            f"{seen.last_rate:.1e} where {seen.rate:.1e} was given: {100 * seen.spent:.1f} % of the learning that "
            "these steps could pay for.",
            location=seen.where,
            numbers={"calls": seen.calls, "updates": seen.updates, "rate": seen.rate, "spent": seen.spent},
            remedy="Accumulate fewer batches, and let the warm-up end after a few per cent of the updates.",
        )
