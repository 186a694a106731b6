"""E830 figure-out-of-range."""

from __future__ import annotations

import math
from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_figures import ReportedFigure
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "E830",
    "figure-out-of-range",
    Severity.MAJOR,
    needs=(ReportedFigure,),
    looked_at=requires(
        ReportedFigure,
        lambda one, limits: bool(one.values),
        thing="printed or logged figures whose names say between which values they lie",
    ),
    slack=Threshold(0.006, "beyond a bound: round-off, two printed digits, and the constant of a smoothed overlap"),
    part=Threshold(0.5, "of the values, or the last one: a single one may be another thing of that name"),
)
def figure_out_of_range(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A figure that the script reports has a value that a figure of its name cannot have.

    What it finds:
        A Dice of 1.4, an SSIM of 1.92, an accuracy of 103 %, an area under the curve of -.2, a mean absolute error
        below 0: a sum that is never divided, or divided by batches where it counts samples, a mean without its
        brackets.
    Why it stops learning:
        It does not; but the best checkpoint is chosen by it, and it is compared with figures of others.
    Evidence it needs:
        ReportedFigure (a watched script): what is printed, logged with `logging` or given to a SummaryWriter, under a
        name that says what it is; and its source, in which it is followed to the line that computes it.
    How it decides:
        By arithmetic. The last value, or `part` of all, lies beyond a bound by `slack`. A figure may be in percent
        where a sign of percent follows it, or anything that it may come from is multiplied by 100 or is somebody else's
        function; the bounds are 0 and 100 then. It is `demonstrated` where the source was followed and calls it no
        loss on the way; more than 100 with a sign of percent, whose source was not found, is `suspected`. Everything
        else is left alone: names with a word that may make something else of them (loss, log, sum, gain), what is
        turned round by a minus, what a loss adds.
    Remedy:
        Divide by the number of what was summed over, in brackets.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A figure of another meaning under that name.
    References:
        Dice, Ecology 1945; Wang et al., Image quality assessment, IEEE TIP 2004; Hanley and McNeil, Radiology 1982.
    """
    for one in evidence.of(ReportedFigure):
        finite = [value for value in one.values if math.isfinite(value)]
        if not finite or one.term:
            continue
        high = one.most if one.most is None or (one.traced and not one.percent) else 100.0
        low = one.least if one.least is None or not one.percent else one.least * 100
        outside = [value for value in finite if _beyond(value, low, high, limits.slack)]
        if len(outside) < limits.part * len(finite) and not _beyond(finite[-1], low, high, limits.slack):
            continue
        if not one.traced and not (one.percent and high is not None and outside[-1] > high):
            continue
        bound = f"be above {high:g}" if high is not None and outside[-1] > high else f"be below {low:g}"
        yield Found(
            message=f"{one.name!r} is {outside[-1]:.4g} ({len(outside)} of {len(finite)} values), and a figure of that "
            f"name cannot {bound}" + (f"; it comes from `{one.source}`." if one.source else "."),
            standing=Standing.DEMONSTRATED if one.traced else Standing.SUSPECTED,
            location=one.computed or one.where,
            numbers={"value": outside[-1], "outside": len(outside), "values": len(finite)},
            remedy="Look what is summed and what it is divided by: the number of what was summed over, in brackets.",
        )


def _beyond(value: float, low: float | None, high: float | None, slack: float) -> bool:
    return (high is not None and value > high * (1 + slack)) or (low is not None and value < low - slack)
