"""Y704 saturated-at-bounds."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.outputs import OutputStatistics
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "Y704",
    "saturated-at-bounds",
    Severity.MINOR,
    needs=(OutputStatistics,),
    looked_at=requires(
        OutputStatistics,
        lambda seen, limits: min(seen.levels, seen.target_levels) >= limits.levels,
        thing="outputs of many values",
    ),
    excess=Threshold(0.25, "of the voxels, beyond the targets' own share at their bounds (air at -1 is no fault)"),
    levels=Threshold(10, "distinct values; fewer is a mask or a class map, which is all bounds"),
)
def saturated_at_bounds(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Much of the prediction sits exactly at its smallest or largest value.

    What it finds:
        Outputs pressed against a clamp, a tanh or a sigmoid, where the targets are not.
    Why it stops learning:
        At a bound the output can no longer answer; and a clip in the sampler hides how far off the network is.
    Evidence it needs:
        OutputStatistics (check *outputs*).
    How it decides:
        Share of the predictions exactly at their own minimum or maximum, less the targets' share at theirs: above
        `excess` it is `suspected`: a pattern of the output shows no cause. Outputs or targets of fewer than `levels`
        values are masks and are left alone.
    Remedy:
        Look at what is pressed against the bound without the clip; check prediction type, schedule and data range.
    Trial it proposes:
        None of its own.
    Known false positives:
        None known.
    References:
        None.
    """
    seen = evidence.last(OutputStatistics)
    if seen is None or min(seen.levels, seen.target_levels) < limits.levels:
        return
    ends = (
        ("low", seen.at_low, seen.target_at_low, seen.prediction_low),
        ("high", seen.at_high, seen.target_at_high, seen.prediction_high),
    )
    for end, share, own, value in ends:
        if share - own <= limits.excess:
            continue
        yield Found(
            message=f"{100 * share:.0f} % of the predicted values are exactly at the {end} end ({value:.3g}); of the "
            f"targets {100 * own:.0f} % are at theirs.",
            numbers={"share_at_bound": round(share, 4), "share_of_targets": round(own, 4)},
            remedy="Look at the values before the clip, and check prediction type, schedule and data range.",
            pictures=("output-0",),
        )
