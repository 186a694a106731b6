"""What does a metric say of predictions whose quality is known, and which peak does a PSNR use?"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from traindx.checks.base import CheckContext, check
from traindx.checks.stand_ins import ANSWERS, answers_for, is_binary
from traindx.core.frames import defined_at
from traindx.core.undisturbed import undisturbed
from traindx.evidence import NotExamined
from traindx.evidence.evaluation import PeakProbe, ReferenceScores

if TYPE_CHECKING:
    from torch import Tensor

    from traindx.case import Case, Metric

Score = Callable[["Tensor", "Tensor"], float]

SAMPLES = 4  # targets that the metrics are tried on
RANGE_BATCHES = 8  # batches whose targets tell the range
ERROR = 0.01  # of the range: the known error of a probe
DOUBLE = 20 * math.log10(2)  # what a PSNR loses when the error doubles


@check(
    "metric-probe",
    "what the metrics say of predictions of known quality",
    needs=("metrics", "target"),
    gives=(PeakProbe, ReferenceScores),
)
def metric_probe(ctx: CheckContext) -> None:
    """Score the reference predictions, then infer the peak of everything that behaves like a PSNR."""
    target = _targets(ctx)
    for name in ctx.case.metrics:
        _, metric = ctx.case.metric(name)
        score = scorer(ctx.case, metric)
        try:
            with undisturbed(ctx.seed), torch.no_grad():
                ctx.record(_reference_scores(name, metric, score, target, ctx.seed))
                in_raw_units = metric.raw is not None and ctx.case.normaliser is not None
                if target.is_floating_point() and not is_binary(target) and not in_raw_units:
                    # a metric in raw units states its own evaluation window, whatever window the network sees
                    probe = _peak(ctx, name, metric, score, target)
                    if probe is not None:
                        ctx.record(probe)
        except Exception as error:  # a metric that refuses a stand-in says nothing of the case
            reason = f"it refused a stand-in prediction: {type(error).__name__}: {error}"
            ctx.record(NotExamined(subject=f"metric {name!r} on reference predictions", reason=reason))


def scorer(case: Case, metric: Metric) -> Score:
    """The metric as trials use it: in raw units where the metric and the case can, else in network units."""
    normaliser, raw = case.normaliser, metric.raw
    if raw is None or normaliser is None:
        return metric
    return lambda prediction, target: float(raw(normaliser.decode(prediction), normaliser.decode(target)))


def _targets(ctx: CheckContext) -> Tensor:
    """A few validation targets of one shape."""
    found: list[Tensor] = []
    for batch in ctx.batches(2, "val"):
        target = ctx.target(batch)
        if not found or target.shape[1:] == found[0].shape[1:]:
            found.append(target)
    return torch.cat(found)[:SAMPLES]


def _reference_scores(name: str, metric: Metric, score: Score, target: Tensor, seed: int) -> ReferenceScores:
    answers = answers_for(target, seed)
    values = {answer: score(answers[answer], target) for answer in ANSWERS}
    corrupted = float("nan")
    if target.is_floating_point() and not is_binary(target):
        broken = answers["shuffled"].clone()
        broken.view(-1)[broken.numel() // 3] = target.max() + 20 * (target.max() - target.min())
        corrupted = score(broken, target)
    return ReferenceScores(
        where=defined_at(metric.function),
        metric=name,
        higher_is_better=metric.higher_is_better,
        perfect=values["perfect"],
        near=values["near"],
        shuffled=values["shuffled"],
        constant=values["blank"],
        inverted=values["inverted"],
        corrupted=corrupted,
    )


def _peak(ctx: CheckContext, name: str, metric: Metric, score: Score, target: Tensor) -> PeakProbe | None:
    """Infer the peak from the error: PSNR = 20 log10(peak / error) for an error of one size everywhere."""
    low, high = float(target.min()), float(target.max())
    if not high > low:
        return None
    error = ERROR * (high - low)
    middle = (low + high) / 2
    whole = _inferred_peak(score, target, middle, error)
    half = _inferred_peak(score, middle + 0.5 * (target - middle), middle, error)
    if whole is None or half is None:
        return None
    seen = torch.cat([ctx.target(batch).flatten()[:: 1 + ctx.target(batch).numel() // 200_000]
                      for batch in ctx.batches(RANGE_BATCHES, "train")]).double()  # fmt: skip
    seen_low, seen_high = (float(value) for value in torch.quantile(seen, torch.tensor([0.001, 0.999]).to(seen)))
    declared = declared_range(ctx.case)
    range_low, range_high = declared or (seen_low, seen_high)
    return PeakProbe(
        where=defined_at(metric.function),
        metric=name,
        peak=whole,
        peak_halved=half,
        range_low=range_low,
        range_high=range_high,
        declared=declared is not None,
        measured_low=seen_low,
        measured_high=seen_high,
        offset_db=20 * math.log10(whole / (range_high - range_low)),
        samples=len(seen),
    )


def _inferred_peak(score: Score, target: Tensor, middle: float, error: float) -> float | None:
    """The peak, or None if the metric does not lose 6.02 dB when the error doubles.

    The error points to the middle of the range, so that a metric which clips its inputs sees all of it.
    """
    inwards = torch.where(target > middle, -1.0, 1.0).to(target)
    once = score(target + error * inwards, target)
    twice = score(target + 2 * error * inwards, target)
    if not (math.isfinite(once) and math.isfinite(twice)) or abs(once - twice - DOUBLE) > 0.05:
        return None
    return error * 10 ** (once / 20)


def declared_range(case: Case) -> tuple[float, float] | None:
    """The range of the data in network units: declared, or the limits at which the normaliser saturates."""
    if case.data_range is not None:
        return case.data_range
    if case.normaliser is None:
        return None
    try:
        far = case.normaliser.encode(torch.tensor([-2e6, -1e6, 1e6, 2e6]))
    except Exception:  # an encoder that wants whole volumes tells us nothing here
        return None
    low, high = float(far[0]), float(far[-1])
    saturates = math.isfinite(high - low) and high > low and float(far[1]) == low and float(far[2]) == high
    return (low, high) if saturates else None
