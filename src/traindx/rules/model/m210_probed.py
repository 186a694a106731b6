"""M210 target-outside-span, for a network of a running script whose last operation is an interpolation."""

from __future__ import annotations

import math
from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.probed import CoarseOutputProbed
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "M210",
    "target-outside-span",
    Severity.CRITICAL,
    needs=(CoarseOutputProbed,),
    thing="outputs that are an up-sampled coarse grid",
    looked_at=requires(
        CoarseOutputProbed, lambda one, limits: one.variance > 0, otherwise="the targets of the network do not vary"
    ),
    left_out=Threshold(
        0.5, "of the target's variance: images lose less to any grid that shows anything, noise loses nearly all"
    ),
)
def target_finer_than_output(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The same in a script: the output is an up-sampled coarse grid, and the targets hold what no such grid can.

    What a loss compares with a target is found to be the result of an interpolation, number for number. The targets
    are projected onto everything that this interpolation can give from any
    coarse grid. If more than `left_out` of their variance stays outside in every pass looked at, it is `demonstrated`:
    the mean squared error cannot fall below that, whatever is learned.
    """
    by_network: dict[str, list[CoarseOutputProbed]] = {}
    for record in evidence.of(CoarseOutputProbed):
        by_network.setdefault(record.network, []).append(record)
    for network, records in by_network.items():
        if not all(one.variance > 0 and one.left_out > limits.left_out * one.variance for one in records):
            continue
        one = records[-1]
        coarse, fine = ("x".join(map(str, grid)) for grid in (one.coarse, one.fine))
        share = math.prod(one.coarse) / math.prod(one.fine)
        yield Found(
            variant="output-is-upsampled",
            message=f"The output of {network} is a {coarse} grid brought to {fine} by an interpolation; no such grid "
            f"can express {100 * one.left_out / one.variance:.0f} % of the variance of its targets. No learning rate "
            f"and no number of epochs goes below a mean squared error of {one.left_out:.3g}.",
            standing=Standing.DEMONSTRATED,
            location=one.where,
            numbers={"loss_floor": one.left_out, "variance": one.variance, "share_of_numbers": share},
            remedy="Give the output a full-resolution path from its input (a skip, a learned layer after the "
            "interpolation that sees full-resolution features), or predict something that is smooth (x0).",
        )
