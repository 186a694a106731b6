"""Y702 predicts-the-prior."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.outputs import OutputStatistics
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, Threshold, requires, rule

CLASSES, SAME = 10, 0.02  # as in Y701: labels spread more than an honest probability of them


@rule(
    "Y702",
    "predicts-the-prior",
    Severity.MINOR,
    needs=(OutputStatistics,),
    looked_at=requires(
        OutputStatistics,
        lambda seen, limits: seen.samples >= 2 and seen.target_spread > 0,
        otherwise="the targets of the samples do not differ",
    ),
    spread=Threshold(0.1, "of the targets' spread, as in Y701: only an output that hardly follows its input"),
    to_mean=Threshold(0.3, "distance to the mean target over the targets' own; another constant is further away"),
    to_level=Threshold(0.1, "distance to the mean value of the targets, in their standard deviations"),
)
def predicts_the_prior(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The constant that the model settled on is the average of the targets.

    What it finds:
        A collapsed output that equals the mean target, voxel by voxel, or the mean value of the targets everywhere.
    Why it stops learning:
        The mean is the best answer of a model that gets no usable input, or whose labels say little: for example
        unlabelled voxels that are trained as foreground make the prior a very good answer.
    Evidence it needs:
        OutputStatistics (check *outputs*).
    How it decides:
        The spread over samples is below `spread` of the targets', and the predictions lie within `to_mean` of the mean
        target (distances in units of the targets' own) or within `to_level` of the mean value with no contrast of
        their own. Always `suspected`: it says where to look, not what is wrong.
    Remedy:
        Check that inputs arrive (M204, M205), then the label values and their balance (D113), then the weights of the
        loss terms (L302).
    Trial it proposes:
        None of its own.
    Known false positives:
        Very short trainings, which begin with the mean.
    References:
        None.
    """
    seen = evidence.last(OutputStatistics)
    if seen is None or seen.samples < 2 or not seen.target_spread > 0 or seen.finite < 1:
        return
    spread = limits.spread if seen.target_levels >= CLASSES else SAME
    if seen.prediction_spread >= spread * seen.target_spread:
        return
    level = abs(seen.prediction_mean - seen.target_mean) / seen.target_std if seen.target_std > 0 else float("inf")
    flat = seen.prediction_std < limits.spread * seen.target_std
    if seen.to_mean_target < limits.to_mean:
        what = "the mean of the targets, voxel by voxel"
    elif flat and level < limits.to_level:
        what = f"their mean value ({seen.target_mean:.3g}) everywhere"
    else:
        return
    yield Found(
        message=f"The constant that the model predicts is {what}: it has learned the prior and nothing of the patient.",
        numbers={
            "distance_to_mean_target": round(seen.to_mean_target, 4),
            "prediction_mean": round(seen.prediction_mean, 5),
            "target_mean": round(seen.target_mean, 5),
        },
        remedy="Check that the inputs arrive, then label values and balance, then the weights of the loss terms.",
        pictures=("output-0",),
    )
