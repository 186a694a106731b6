"""O410 ema-stale-or-evaluated-too-early, for the running statistics of a copy in a watched script."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_state import StatisticsSeen
from traindx.finding import Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "O410",
    "ema-stale-or-evaluated-too-early",
    Severity.CRITICAL,
    needs=(StatisticsSeen,),
    thing="copies of a network whose weights are moved",
    looked_at=requires(
        StatisticsSeen,
        lambda one, limits: one.looks >= limits.copy_looks and one.weights_moved >= limits.copy_moved,
        thing="copies of a network whose weights are moved",
    ),
    copy_moved=Threshold(1e-3, "relative change of a weight tensor; a frozen copy has none at all"),
    copy_looks=Threshold(2, "later calls of the copy in evaluation mode"),
)
def statistics_left_behind(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The weights of a copy (a teacher, an average) are updated, and its running statistics are not.

    In evaluation mode batch norm normalises by the statistics in its buffers. A network that no optimiser holds, whose
    weights moved by more than `copy_moved` over at least `copy_looks` calls in evaluation mode while no running mean or
    variance changed, normalises its new features by old statistics: `demonstrated` where these still have the values
    they were constructed with, else `suspected`. A copy in training mode, and one whose weights stay, are left alone.
    """
    for record in evidence.of(StatisticsSeen):
        if record.statistics_moved or record.looks < limits.copy_looks or record.weights_moved < limits.copy_moved:
            continue
        values = "still have the values they were constructed with" if record.at_start_values else "never change"
        yield Found(
            variant="statistics-left-behind",
            message=f"The weights of a copy of {record.network} that is used in evaluation mode are updated (by up to "
            f"{100 * record.weights_moved:.2g} %), but the running means and variances of its normalisation layers "
            f"{values}.",
            standing=Standing.DEMONSTRATED if record.at_start_values else Standing.SUSPECTED,
            location=record.written or record.where,
            numbers={"weights_moved": record.weights_moved, "looks": record.looks},
            remedy="Copy or average the buffers too: for b, m in zip(online.buffers(), copy.buffers()): m.copy_(b).",
            proposals=(Proposal(treatment="copy-statistics"),),
        )
