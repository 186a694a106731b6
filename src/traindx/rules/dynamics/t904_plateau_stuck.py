"""T904 plateau-stuck."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.evaluation import BaselineScore
from traindx.evidence.forecast import RunForecast
from traindx.finding import Proposal, Severity
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "T904",
    "plateau-stuck",
    Severity.MAJOR,
    needs=(RunForecast,),
    looked_at=requires(
        RunForecast,
        lambda one, limits: one.seen >= limits.seen * one.planned and (one.validated or one.seen >= limits.fewest),
        otherwise="too little of the run was seen for a forecast",
    ),
    seen=Threshold(0.5, "of the planned steps; a warm-up may be flat"),
    moved=Threshold(1.0, "differences of no importance, in what was learned and in what is left to gain"),
    learned=Threshold(0.02, "of the loss; of a loss alone, less than this is no learning"),
    fewest=Threshold(300, "steps of a script; some healthy losses move later than a test lets them"),
)
def plateau_stuck(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The figure is flat at the level at which it began, or of a trivial predictor: more steps will not help.

    What it finds:
        A training that will not get better by going on, as opposed to one that was ended too early or has converged.
    Why it stops learning:
        Not for want of steps: a rate that is zero or far off, a loss without gradient, parameters that are put back, a
        target that the network cannot express.
    Evidence it needs:
        RunForecast (checks *recorded-run* and *own-run*, or the losses of a watched script that ran to its own end),
        and BaselineScore where there is one.
    How it decides:
        The upper end of the 80 % interval of what twice the steps would gain is below `moved` differences of no
        importance, and the level is either no better than at the start or than the best trivial predictor by as
        much. Of a training loss alone: within `learned` of where it began, after `fewest` steps, even at the upper
        end of what may have been learned where the losses of single batches scatter (one bag a batch). A flat curve
        that is far better than it began has converged, and nothing is said. It is `suspected`: that it is stuck is a
        symptom.
    Remedy:
        Look at the other findings first; then try learning rates a factor of ten apart.
    Trial it proposes:
        `learning-rate` with factors 10 and 0.1, where a trial trains as long as the author.
    Known false positives:
        Models that were trained before, and losses that need not fall (adversarial training).
    References:
        None.
    """
    forecasts = evidence.of(RunForecast)
    validated = [one for one in forecasts if one.validated]
    for one in (validated or forecasts)[-1:]:
        margin = limits.moved * one.negligible
        if one.seen < limits.seen * one.planned or one.gain[2] >= margin:
            continue
        learned = one.learned if one.learned_high is None else max(one.learned, one.learned_high)
        if not one.validated and (one.seen < limits.fewest or learned >= limits.learned * abs(one.level)):
            continue
        trivial = _trivial(evidence, one)
        no_better = trivial is not None and _better(one, trivial) < margin
        if one.learned >= margin and not no_better:
            continue
        unit = f" {one.unit}" if one.unit else ""
        against = (
            f"no better than a trivial predictor ({trivial:.4g}{unit})"
            if no_better
            else f"where it began ({one.learned:+.2g}{unit} since then)"
        )
        yield Found(
            message=f"After {one.seen:.0f} steps {one.figure} is at {one.level:.4g}{unit}, {against}, and flat: "
            f"{one.at:.0f} steps would gain at most {one.gain[2]:.2g}{unit} (upper end of the 80 % interval). It is "
            "stuck, not under-trained.",
            location=one.where,
            severity=None if one.validated else Severity.MINOR,
            numbers={
                "steps": one.seen,
                "level": one.level,
                "gain_high": one.gain[2],
                "learned": one.learned,
                "forecast_step": one.at,
            },
            remedy="Do not train longer. Look at the other findings, then try learning rates a factor of ten apart.",
            proposals=tuple(Proposal(treatment="learning-rate", parameters={"factor": k}) for k in (10.0, 0.1))
            if one.repeatable
            else (),
            pictures=("own-run",) if one.validated else (),
        )


def _trivial(evidence: Evidence, one: RunForecast) -> float | None:
    """The best trivial predictor under the same metric."""
    found = [
        sum(score.values) / len(score.values)
        for score in evidence.of(BaselineScore)
        if score.metric == one.figure and score.name != "model" and score.values and one.validated
    ]
    return (max if one.higher_is_better else min)(found) if found else None


def _better(one: RunForecast, than: float) -> float:
    return one.level - than if one.higher_is_better else than - one.level
