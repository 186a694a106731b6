"""Y707 range-off."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.outputs import OutputStatistics
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "Y707",
    "range-off",
    Severity.MAJOR,
    needs=(OutputStatistics,),
    correlation=Threshold(0.9, "the picture is right, so that a scale and an offset have a meaning"),
    scale=Threshold(
        0.25, "relative deviation of the scale; regression to the mean at this correlation stays below 0.2"
    ),
    shift=Threshold(0.1, "of the targets' range"),
    classes=Threshold(10, "distinct target values; probabilities and labels do not share a scale"),
)
def range_off(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The right picture in the wrong units, or values where no target ever is.

    What it finds:
        Predictions in [0, 1] for targets in [-1, 1], a normalisation undone twice or not at all, an offset.
    Why it stops learning:
        It may have learned well: the figures are bad because prediction and target do not share a scale.
    Evidence it needs:
        OutputStatistics (exam *outputs*).
    How it decides:
        Where predictions and targets correlate above `correlation`, the least-squares line from prediction to target
        must have slope 1 within `scale` and shift the mean by less than `shift` of the targets' range. Else it is
        `demonstrated`. So it is if the predictions' range (0.5th to 99.5th percentile) and the targets' do not even
        touch.
    Remedy:
        Undo in the deployment path exactly the normalisation that was applied in training.
    Trial it proposes:
        `clip-to-data`, where only the tails are off.
    Known false positives:
        None known.
    References:
        None.
    """
    seen = evidence.last(OutputStatistics)
    if seen is None or seen.finite < 1 or seen.target_levels < limits.classes:
        return
    span = seen.target_high - seen.target_low
    if span <= 0:
        return
    apart = seen.prediction_low > seen.target_high or seen.prediction_high < seen.target_low
    shift = (seen.target_mean - seen.prediction_mean) / span
    line = seen.correlation > limits.correlation and (abs(seen.slope - 1) > limits.scale or abs(shift) > limits.shift)
    if not (apart or line):
        return
    how = (
        f"correlates with them at {seen.correlation:.2f}, but the line from one to the other is "
        f"target = {seen.slope:.3g} * prediction {seen.offset:+.3g}"
        if line
        else "never takes a value that they take"
    )
    yield Found(
        message=f"The prediction spans {seen.prediction_low:.3g} to {seen.prediction_high:.3g}, the targets "
        f"{seen.target_low:.3g} to {seen.target_high:.3g}: it {how}.",
        standing=Standing.DEMONSTRATED,
        numbers={
            "slope": round(seen.slope, 4),
            "offset": round(seen.offset, 4),
            "correlation": round(seen.correlation, 4),
        },
        remedy="Undo in the deployment path exactly the normalisation that was applied in training.",
        pictures=("output-0",),
    )
