"""E808 selection-on-noise, for the figure that a case selects by."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from statistics import stdev

from traindx.evidence.base import Evidence
from traindx.evidence.deployment import RepeatedSelection
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "E808",
    "selection-on-noise",
    Severity.MAJOR,
    needs=(RepeatedSelection,),
    figure=Threshold(0.005, "of the mean: late epochs improve a loss by less; on fixed draws it repeats to round-off"),
)
def selecting_figure_is_redrawn(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The case's own validation gives one fixed model another selecting figure in every pass.

    ``demonstrated`` where the range of the values is above ``figure`` of their mean: the model, the data and the
    function are the same, and only what is drawn anew differs.
    """
    for record in evidence.of(RepeatedSelection):
        spread = max(record.values) - min(record.values)
        mean = abs(sum(record.values) / len(record.values))
        if spread <= limits.figure * mean:
            continue
        bests = len(set(accumulate(record.values, min))) - 1
        yield Found(
            message=f"{record.figure!r}, which chooses the best checkpoint, is {min(record.values):.3g} to "
            f"{max(record.values):.3g} for one fixed model in {len(record.values)} validations ({bests} of them 'new "
            "bests' if lower is better): it draws noise anew, and the best checkpoint is the luckiest.",
            standing=Standing.DEMONSTRATED,
            location=record.where,
            numbers={
                "lowest": min(record.values),
                "highest": max(record.values),
                "standard_deviation": stdev(record.values),
            },
            remedy="Draw noise and timesteps once, from a fixed seed, or select by the figure of merit.",
        )
