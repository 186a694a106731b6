"""Y707 range-off."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.outputs import OutputStatistics
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "Y707",
    "range-off",
    Severity.MAJOR,
    needs=(OutputStatistics,),
    looked_at=requires(
        OutputStatistics,
        lambda seen, limits: seen.target_levels >= limits.classes and seen.target_high > seen.target_low,
        thing="targets of many values",
    ),
    correlation=Threshold(0.9, "the picture is right, so that a scale and an offset have a meaning"),
    scale=Threshold(1.5, "times the targets' contrast; too little contrast is what every short training has"),
    shift=Threshold(0.25, "of the targets' range; four short trainings of comparable contrast measured up to 0.18"),
    shrunk=Threshold(2.5, "times less contrast than the targets: that may be a training that has only begun"),
    classes=Threshold(10, "distinct target values; probabilities and labels do not share a scale"),
)
def range_off(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The right picture in the wrong units, or values where no target ever is.

    What it finds:
        Predictions in [0, 1] for targets in [-1, 1], a normalisation undone twice or not at all, an offset.
    Why it stops learning:
        It may have learned well: the figures are bad because prediction and target do not share a scale.
    Evidence it needs:
        OutputStatistics (check *outputs*).
    How it decides:
        Where predictions and targets correlate above `correlation`, their means must agree within `shift` of the
        targets' range, and the predictions must not have more than `scale` times the contrast of the targets (by the
        least-squares line). Else it is `demonstrated`, or `suspected` if the predictions have `shrunk` times less
        contrast, as a training that has only begun would have. It is `demonstrated` too if the predictions' range
        (0.5th to 99.5th percentile) and the targets' do not even touch. Too little contrast about the right mean is not
        reported: that is shrinkage.
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
    line = seen.correlation > limits.correlation and (seen.slope < 1 / limits.scale or abs(shift) > limits.shift)
    if not (apart or line):
        return
    shrunk = not apart and seen.slope > limits.shrunk
    how = (
        f"correlates with them at {seen.correlation:.2f}, but the line from one to the other is "
        f"target = {seen.slope:.3g} * prediction {seen.offset:+.3g}"
        if line
        else "never takes a value that they take"
    )
    yield Found(
        message=f"The prediction spans {seen.prediction_low:.3g} to {seen.prediction_high:.3g}, the targets "
        f"{seen.target_low:.3g} to {seen.target_high:.3g}: it {how}.",
        standing=Standing.SUSPECTED if shrunk else Standing.DEMONSTRATED,
        numbers={
            "slope": round(seen.slope, 4),
            "offset": round(seen.offset, 4),
            "correlation": round(seen.correlation, 4),
        },
        remedy="Undo in the deployment path exactly the normalisation that was applied in training.",
        pictures=("output-0",),
    )
