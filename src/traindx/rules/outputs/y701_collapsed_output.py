"""Y701 collapsed-output."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.outputs import OutputStatistics
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "Y701",
    "collapsed-output",
    Severity.MAJOR,
    needs=(OutputStatistics,),
    looked_at=requires(
        OutputStatistics,
        lambda seen, limits: seen.samples >= limits.fewest and seen.target_spread > 0 and seen.target_std > 0,
        otherwise="the targets of the samples do not differ",
    ),
    fewest=Threshold(2, "samples, to speak of a spread"),
    spread=Threshold(0.1, "of the targets' spread; healthy short trainings measured 0.3 and above"),
    same=Threshold(0.02, "of the targets' spread: the same image for every patient, to the eye"),
    flat=Threshold(0.1, "of the targets' contrast within a sample; the reported case had 0.016"),
    classes=Threshold(10, "distinct target values; probabilities of a weak classifier spread less than its labels"),
)
def collapsed_output(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The trained model says nearly the same for every patient, or nearly the same in every voxel.

    What it finds:
        Predictions whose spread over patients is far below that of the targets, or that have no contrast.
    Why it stops learning:
        It is the symptom of a model that found no use for its input. What caused it is another finding's business.
    Evidence it needs:
        OutputStatistics (check *outputs*).
    How it decides:
        Spread over samples (standard deviation at a voxel, root mean square over voxels) of predictions over that of
        targets; contrast within a sample likewise. Below `same` of the spread it is `demonstrated` that the output does
        not follow the input; below `spread`, or below `flat` of the contrast, it is `suspected`. Targets of fewer than
        `classes` values are labels: an honest probability spreads less than they do, so only `same` counts there.
    Remedy:
        Look at what is found about the information path, the loss and the sampler; a constant that equals the mean
        target (Y702) points to labels and class balance.
    Trial it proposes:
        None of its own.
    Known false positives:
        Very short trainings, which begin with the mean.
    References:
        None.
    """
    seen = evidence.last(OutputStatistics)
    if seen is None or seen.samples < limits.fewest or seen.finite < 1:
        return
    if not seen.target_spread > 0 or not seen.target_std > 0:
        return
    spread, contrast = seen.prediction_spread / seen.target_spread, seen.prediction_std / seen.target_std
    labels = seen.target_levels < limits.classes
    if spread >= (limits.same if labels else limits.spread) and (labels or contrast >= limits.flat):
        return
    what = (
        f"differ between {seen.samples} patients by {100 * spread:.2g} % of what their targets do"
        if spread < limits.spread
        else f"have {100 * contrast:.2g} % of their targets' contrast"
    )
    yield Found(
        message=f"The trained model's predictions {what} (values {seen.prediction_low:.3g} to "
        f"{seen.prediction_high:.3g}, targets {seen.target_low:.3g} to {seen.target_high:.3g}).",
        standing=Standing.DEMONSTRATED if spread < limits.same else Standing.SUSPECTED,
        numbers={"spread_ratio": round(spread, 5), "contrast_ratio": round(contrast, 5), "samples": seen.samples},
        remedy="Find the cause among the other findings (information path, loss, sampler) before training longer.",
        pictures=("output-0",),
    )
