"""E810 output-independent-of-model."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.deployment import ModelSwap
from traindx.finding import Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule

_PROPOSALS = (Proposal(treatment="reference-prediction"),)


@rule(
    "E810",
    "output-independent-of-model",
    Severity.CRITICAL,
    needs=(ModelSwap,),
    all=Threshold(0.999, "share of voxels that are the same for six draws of noise; by chance 0.03 for two classes"),
    sigmoid_low=Threshold(0.2688, "one minus the sigmoid of a probability of 1; 0.5 where there is no such channel"),
    sigmoid_high=Threshold(0.7312, "the sigmoid of a probability of 1 is 0.73106"),
)
def output_independent_of_model(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The prediction, or a part of it, is the same whatever the network says.

    What it finds:
        A second sigmoid before a threshold (every voxel is foreground, for any model), a sliding window that never
        visits the end of a volume, window weights of zero on the border, a constant in the place of the output.
    Why it stops learning:
        It does not: training may be perfect. What is deployed and scored does not show it, and the figures look like a
        collapsed model: identical foreground ratios in every case.
    Evidence it needs:
        ModelSwap (check *model-swap*).
    How it decides:
        Every network on the prediction path says noise instead, with six seeds. `demonstrated` if the output, or the
        mask that it becomes at one half or by the likeliest class, is the same in more than `all` of the voxels; and if
        whole planes at the border of the volume are the same although the images were replaced by noise as well.
        Scattered voxels that do not change (a body mask) are left alone. Values within `sigmoid_low` and `sigmoid_high`
        name the second sigmoid.
    Remedy:
        Apply one activation, once; let windows start at `size - window` too; give every window positive weights.
    Trial it proposes:
        `reference-prediction`, where the case offers another prediction path; the weights are without effect.
    Known false positives:
        A path that blanks the border of every volume on purpose.
    References:
        The surface-segmentation report: 95.06 % and 71.19 % foreground for any model, which are the shares of the
        volumes that its windows covered.
    """
    for record in evidence.of(ModelSwap):
        numbers: dict[str, float | int | str | bool] = {
            "same": record.same,
            "same_mask": record.same_mask,
            "low": record.low,
            "high": record.high,
        }
        twice = record.low >= limits.sigmoid_low and record.high <= limits.sigmoid_high
        values = f"values lie between {record.low:.3f} and {record.high:.3f}"
        if record.same >= limits.all:
            yield Found(
                message=f"The prediction is the same for {record.draws} networks that say nothing but noise: it does "
                f"not depend on the model ({values}).",
                standing=Standing.DEMONSTRATED,
                location=record.where,
                numbers=numbers,
                remedy="Follow the network's output to the end of the prediction: somewhere it is replaced.",
                proposals=_PROPOSALS,
            )
        elif record.same_mask >= limits.all:
            why = (
                "as they do after a second sigmoid on probabilities, where a threshold of 0.5 makes everything "
                "foreground"
                if twice
                else "and no threshold is crossed"
            )
            yield Found(
                message=f"The mask is the same for {record.draws} networks that say nothing but noise: {values}, "
                f"{why}.",
                standing=Standing.DEMONSTRATED,
                location=record.where,
                numbers=numbers,
                remedy="Apply one activation, once, between the network and the threshold."
                if twice
                else "Look at the values before the threshold, and where they are limited.",
                proposals=_PROPOSALS,
            )
        elif any(map(any, record.planes)):
            yield _border(record, numbers)


def _border(record: ModelSwap, numbers: dict[str, float | int | str | bool]) -> Found:
    parts = [
        f"the {side} {count} of {size} planes of axis {axis}"
        for axis, (ends, size) in enumerate(zip(record.planes, record.shape, strict=True))
        for side, count in zip(("first", "last"), ends, strict=True)
        if count
    ]
    ends_only = not any(start for start, _ in record.planes)
    return Found(
        message=f"Nothing that the network says arrives in {', '.join(parts)} of the prediction (they hold "
        f"{record.value:g} for any model).",
        standing=Standing.DEMONSTRATED,
        location=record.where,
        numbers={**numbers, **{f"dead_axis_{axis}": sum(ends) for axis, ends in enumerate(record.planes)}},
        remedy="Let the last window start at size - window, so that it ends with the volume."
        if ends_only
        else "Give windows a weight above zero up to their border, and let them reach the border of the volume.",
        proposals=_PROPOSALS,
    )
