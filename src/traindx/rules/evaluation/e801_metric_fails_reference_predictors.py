"""E801 metric-fails-reference-predictors."""

from __future__ import annotations

import math
from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.evaluation import PeakProbe, ReferenceScores
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule

REMEDY = "Check what the metric compares with what, its direction, and test it on the target itself before any model."


@rule(
    "E801",
    "metric-fails-reference-predictors",
    Severity.MAJOR,
    needs=(ReferenceScores,),
    margin=Threshold(1e-3, "of the span of the values; round-off stays below 1e-6"),
    spatially_invariant=Threshold(
        0.05, "of the distance between perfect and constant; SSIM of an image and its negative: 0.01"
    ),
)
def metric_fails_reference_predictors(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A metric does not rank predictions whose order is known.

    What it finds:
        A metric that gives everything the same value, prefers another sample to the truth, rises when a voxel is
        corrupted, has its direction declared the wrong way round, or cannot tell an image from its negative.
    Why it stops learning:
        It does not; but the best checkpoint, the learning-rate schedule and every decision follow the wrong figure.
    Evidence it needs:
        ReferenceScores (check *metric-probe*).
    How it decides:
        The metric is given the target itself, the target with a slight error, another sample's, a constant, the
        target upside down, and the other sample's with a single voxel far outside the range. The perfect prediction
        must be the best of all by `margin` of their span, and one corrupted voxel must not improve the score; else it
        is `demonstrated`. A negative that scores within `blind` of the truth is `suspected`.
    Remedy:
        Give the metric prediction and target in the right order, with a fixed data range and no normalisation of its
        own.
    Trial it proposes:
        None; a scoring metric is not tried but fixed.
    Known false positives:
        Metrics that are invariant on purpose (correlation in absolute value, mutual information).
    References:
        None.
    """
    peaked = {probe.metric for probe in evidence.of(PeakProbe)}
    for scores in evidence.of(ReferenceScores):
        said = _broken(scores, limits)
        standing = Standing.DEMONSTRATED
        if not said:
            said = _blind(scores, limits) if scores.metric not in peaked else ""
            standing = Standing.SUSPECTED
        if said:
            names = ("perfect", "near", "shuffled", "constant", "inverted", "corrupted")
            yield Found(
                message=f"The metric {scores.metric!r} {said}",
                standing=standing,
                severity=None if standing is Standing.DEMONSTRATED else Severity.MINOR,
                location=scores.where,
                numbers={name: getattr(scores, name) for name in names},
                remedy=REMEDY,
            )


def _broken(scores: ReferenceScores, limits: Limits) -> str:
    sign = 1.0 if scores.higher_is_better else -1.0
    perfect = sign * scores.perfect
    others = {
        "a slightly wrong prediction": sign * scores.near,
        "another sample's target": sign * scores.shuffled,
        "a constant": sign * scores.constant,
        "the target upside down": sign * scores.inverted,
    }
    if math.isnan(perfect):
        return "is not a number for a perfect prediction."
    known = {name: value for name, value in others.items() if math.isfinite(value)}
    finite = [*known.values(), *([perfect] if math.isfinite(perfect) else [])]
    span = max(finite, default=0.0) - min(finite, default=0.0)
    if span <= 1e-9 * max((abs(value) for value in finite), default=0.0) and perfect in finite and len(known) == 4:
        return f"is {scores.perfect:.4g} whatever it is given: perfect, constant, another sample's or upside down."
    if not known:
        return ""
    best = max(known, key=lambda name: known[name])
    if perfect >= known[best] - limits.margin * span:
        return _corrupted(scores, sign, span, limits)
    if all(value > perfect + limits.margin * span for value in known.values()):
        direction = "higher" if scores.higher_is_better else "lower"
        return (
            f"is worst for the perfect prediction ({scores.perfect:.4g}): it is declared as {direction}-is-better, "
            "and is not."
        )
    return f"prefers {best} ({sign * known[best]:.4g}) to the perfect prediction ({scores.perfect:.4g})."


def _corrupted(scores: ReferenceScores, sign: float, span: float, limits: Limits) -> str:
    better = sign * (scores.corrupted - scores.shuffled)
    if math.isfinite(better) and better > max(limits.margin * span, 1e-6 * abs(scores.shuffled)):
        return (
            f"improves from {scores.shuffled:.4g} to {scores.corrupted:.4g} when one voxel of a wrong prediction is "
            "corrupted: it normalises by the values it is given."
        )
    return ""


def _blind(scores: ReferenceScores, limits: Limits) -> str:
    values = (scores.perfect, scores.constant, scores.inverted)
    if not all(math.isfinite(value) for value in values):
        return ""
    span = abs(scores.perfect - scores.constant)
    if span > 0 and abs(scores.perfect - scores.inverted) < limits.spatially_invariant * span:
        return f"gives the target upside down {scores.inverted:.4g} and the target itself {scores.perfect:.4g}."
    return ""
