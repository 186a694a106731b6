"""O401 step-too-small, tried out in a case's first steps."""

from __future__ import annotations

import math
from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.training_state import RateProbe
from traindx.finding import Proposal, Severity
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "O401",
    "step-too-small",
    Severity.MAJOR,
    needs=(RateProbe,),
    reach=Threshold(0.3, "of its own size is how far a weight can go in all planned steps; healthy runs are above 1"),
    faster=Threshold(3.0, "times the fall of the loss in the same steps, at ten or a hundred times the rate"),
    fall=Threshold(0.1, "relative fall of the loss at the larger rate: it must truly learn there"),
)
def rates_reach_nowhere(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Learning rates that cannot carry the weights anywhere in the steps that are planned.

    The reach is the relative update of the first steps times the planned steps. Where it is below ``reach``, the first
    steps are repeated on one frozen batch at ten and a hundred times the rates; ``suspected`` if the loss then falls
    ``faster``, and by ``fall`` at least. Deliberate fine-tuning from trained weights has a short reach too, but gains
    nothing from larger rates in these steps.
    """
    for record in evidence.of(RateProbe):
        falls = {factor: fall for factor, fall in zip(record.factors, record.falls, strict=True) if math.isfinite(fall)}
        own = falls.pop(1.0, None)
        if own is None or record.reach >= limits.reach:
            continue
        better = {factor: fall for factor, fall in falls.items() if fall > limits.fall and fall > limits.faster * own}
        if not better:
            continue
        best = max(better, key=lambda factor: better[factor])
        shown = ", ".join(f"{rate:.0e}" for rate in dict.fromkeys(record.rates))
        yield Found(
            message=f"With learning rates {shown} no group of weights can move by more than "
            f"{100 * record.reach:.1f} % of its size in {record.planned} steps. In {record.steps} steps on one batch "
            f"the loss falls by {100 * own:.1f} %, and by {100 * better[best]:.1f} % at {best:g} times the rates.",
            location=record.where,
            numbers={
                "reach": record.reach,
                "fall": own,
                **{f"fall x{factor:g}": fall for factor, fall in falls.items()},
            },
            remedy=f"Raise the learning rates by a factor of 10 to 100 (here {best:g} was best).",
            proposals=tuple(
                Proposal(treatment="learning-rate", parameters={"factor": factor})
                for factor in sorted(better, key=lambda factor: -better[factor])
            ),
        )
