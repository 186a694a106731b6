"""T903 undertrained."""

from __future__ import annotations

import math
from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.forecast import RunForecast
from traindx.finding import Proposal, Severity
from traindx.rules.base import Found, Limits, Threshold, requires, rule

FACTOR = 2.0


@rule(
    "T903",
    "undertrained",
    Severity.MAJOR,
    needs=(RunForecast,),
    looked_at=requires(
        RunForecast,
        lambda one, limits: one.seen >= limits.ended * one.planned and (one.validated or one.seen >= limits.fewest),
        otherwise="the run is too short for a forecast, or did not end",
    ),
    ended=Threshold(0.98, "of the planned steps; before the end of its plan no run is too short"),
    material=Threshold(3.0, "times the difference of no importance; two seeds differ by about one of them"),
    share=Threshold(0.1, "of all that was learned; of a loss alone, since nobody says which change of it matters"),
    level=Threshold(0.05, "of the loss itself; a loss that is nearly zero may fall by large factors for nothing"),
    fewest=Threshold(300, "steps of a script; demonstrations and tests end sooner, and on purpose"),
)
def undertrained(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The author's own training ended while the figure was still improving by an amount that matters.

    What it finds:
        A plan that is too short: twice the steps, with the schedule of the learning rate stretched, would gain more
        than a material amount, and the whole 80 % interval of the forecast says so.
    Why it stops learning:
        It does not stop learning: it is stopped. A cosine that ends makes the curve look flat whatever is left.
    Evidence it needs:
        RunForecast (checks *recorded-run* and *own-run*, or the losses of a watched script that ran to its own end).
    How it decides:
        Power laws and exponentials with a plateau, a logarithm without one and a flat line are averaged over, in the
        steps that the learning rate has spent. It speaks only if the run was seen to the end of its plan (`ended`),
        and the lower end of the interval of the gain is above `material` differences of no importance. Of a training
        loss alone it must also be above `share` of what was learned and `level` of the loss, over at least `fewest`
        steps, and where a validation figure is known, that alone decides. How long a trial trains is no plan: a case
        that does not say how long its author trains is never called under-trained. It is `suspected`; a trial that
        trains longer proves it.
    Remedy:
        Plan as many steps as the finding says, with the schedule stretched; do not append steps at the last rate.
    Trial it proposes:
        `train-longer` with factor 2, where a trial trains as long as the author.
    Known false positives:
        A figure that is about to overfit: the forecast knows no fall that has not begun.
    References:
        Domhan et al., "Speeding up automatic hyperparameter optimization of deep neural networks by extrapolation of
        learning curves", 2015; Tissue et al., "Scaling law with learning rate annealing", 2024.
    """
    forecasts = evidence.of(RunForecast)
    validated = [one for one in forecasts if one.validated]
    for one in (validated or forecasts)[-1:]:
        if one.seen < limits.ended * one.planned or one.gain[0] < limits.material * one.negligible:
            continue
        if not one.validated and (
            one.seen < limits.fewest
            or one.gain[0] < limits.share * one.learned
            or one.gain[0] < limits.level * abs(one.level)
        ):
            continue
        unit = f" {one.unit}" if one.unit else ""
        stop, high = one.stop[1], one.stop[2]
        until = (
            f"From about {stop:.0f} steps on"
            + (f" ({one.stop[0]:.0f} to {high:.0f})" if math.isfinite(high) else "")
            + f" doubling them would gain less than {one.negligible:.2g}{unit}."
            if math.isfinite(stop)
            else "Where that ends cannot be foreseen yet."
        )
        yield Found(
            message=f"The training ends after {one.seen:.0f} steps with {one.figure} at {one.level:.4g}{unit}, still "
            f"improving: {one.at:.0f} steps would gain {one.gain[1]:.2g}{unit} (80 % interval {one.gain[0]:.2g} to "
            f"{one.gain[2]:.2g}). {until}",
            location=one.where,
            severity=None if one.validated else Severity.MINOR,
            numbers={
                "steps": one.seen,
                "level": one.level,
                "gain_low": one.gain[0],
                "gain": one.gain[1],
                "gain_high": one.gain[2],
                "forecast_step": one.at,
                "learned": one.learned,
            },
            remedy=f"Train for {one.at:.0f} steps with the schedule of the learning rate stretched to them.",
            proposals=(Proposal(treatment="train-longer", parameters={"factor": FACTOR}),) if one.repeatable else (),
            pictures=("own-run",) if one.validated else (),
        )
