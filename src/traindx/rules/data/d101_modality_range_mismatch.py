"""D101 modality-range-mismatch."""

from __future__ import annotations

import math
from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed import InputSeen
from traindx.finding import Proposal, Severity
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "D101",
    "modality-range-mismatch",
    Severity.MINOR,
    needs=(InputSeen,),
    looked_at=requires(
        InputSeen,
        lambda seen, limits: seen.phase == "training" and len(seen.shape) >= 4 and len(seen.low) >= 2,
        thing="inputs of several channels",
    ),
    factor=Threshold(
        6.0,
        "widest over narrowest range; a z-scored image (4.6) beside one in [-1, 1] (2) has 2.3, and a "
        "[0, 1] image of natural contrast reaches 5",
    ),
    distinct=Threshold(8, "distinct values; masks, one-hot codes and constants are not images"),
)
def modality_range_mismatch(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Two channels of one input have very different ranges.

    What it finds:
        For example a CT scaled to [0, 1] beside a z-scored MR, or a raw channel beside a normalised one.
    Why it stops learning:
        The first layer's weights see the wide channel only; the weak one is learned later and worse.
    Evidence it needs:
        InputSeen (a watched script).
    How it decides:
        1st to 99th percentile of every channel of the images that a network gets in training; the widest over the
        narrowest. Channels with few distinct values (masks) are left out. `suspected`: how much it matters is for a
        trial to say; in the case that this rule grew from it mostly changed the meaning of the metric.
    Remedy:
        Normalise every modality to the same range.
    Trial it proposes:
        `renormalise` for the weak channel.
    Known false positives:
        Coordinates or noise levels as channels.
    References:
        LeCun et al., Efficient BackProp, 1998, section 4.3 (inputs of equal variance).
    """
    for seen in evidence.of(InputSeen):
        if seen.phase != "training" or len(seen.shape) < 4 or len(seen.low) < 2:
            continue
        ranges = {
            channel: high - low
            for channel, (low, high, distinct) in enumerate(zip(seen.low, seen.high, seen.distinct, strict=True))
            if distinct >= limits.distinct and math.isfinite(high - low) and high > low
        }
        if len(ranges) < 2:
            continue
        weak, strong = min(ranges, key=ranges.__getitem__), max(ranges, key=ranges.__getitem__)
        factor = ranges[strong] / ranges[weak]
        if factor <= limits.factor:
            continue
        yield Found(
            message=f"Channel {strong} of {seen.network}'s input spans {seen.low[strong]:.3g} to "
            f"{seen.high[strong]:.3g}, channel {weak} only {seen.low[weak]:.3g} to {seen.high[weak]:.3g}: "
            f"{factor:.0f} times less.",
            location=seen.where,
            numbers={"factor": factor, "weak_channel": weak, "strong_channel": strong},
            remedy="Normalise every channel to the same range.",
            proposals=(Proposal(treatment="renormalise", parameters={"channel": weak, "factor": factor}),),
        )
