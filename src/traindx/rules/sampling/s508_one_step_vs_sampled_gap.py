"""S508 one-step-vs-sampled-gap."""

from __future__ import annotations

import math
from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.sampling import OneStep
from traindx.finding import Proposal, Severity
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "S508",
    "one-step-vs-sampled-gap",
    Severity.MAJOR,
    needs=(OneStep,),
    looked_at=requires(
        OneStep,
        lambda seen, limits: math.isfinite(seen.sampled_mse) and max(seen.noise_levels, default=0.0) >= limits.noisy,
        otherwise="the sampled error is not finite, or nothing was predicted from much noise",
    ),
    gap_db=Threshold(
        6.0,
        "a sample of the right posterior has twice the squared error of its mean, 3 dB; as much again for the steps "
        "of an "
        "imperfect network",
    ),
    lead_db=Threshold(
        1.0, "the one-step prediction must itself beat the mean image by this, or the model is at fault too"
    ),
    noisy=Threshold(0.9, "noise level from which one step has to do most of the loop's work"),
)
def one_step_vs_sampled_gap(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """One denoising step predicts the image well and the whole sampling loop does not: the loop is at fault, not the
    model.

    What it finds:
        A trained network whose x0, predicted in one step from an almost pure-noise truth, is far better than the image
        that its own sampling loop makes.
    Why it stops learning:
        It does learn: what is looked at is spoiled afterwards.
    Evidence it needs:
        OneStep (check *one-step*, after training).
    How it decides:
        Squared error of the sample against that of the one-step prediction at noise levels above `noisy`, in dB, above
        `gap_db`, while the one-step prediction beats the mean image by `lead_db`. A pattern, hence `suspected`; where
        a check of the loop found the reason (S501, S502, S504, S505), that is the cause and this its size.
    Remedy:
        Look at the sampling loop and at the time it passes, not at the network.
    Trial it proposes:
        `reference-sampler`.
    Known false positives:
        A posterior of several very different images: their mean is near to all of them and each sample far from most.
    References:
        Blau and Michaeli, The Perception-Distortion Tradeoff, CVPR 2018 (the 3 dB).
    """
    seen = evidence.of(OneStep)[-1]
    noisy = [error for level, error in zip(seen.noise_levels, seen.one_step_mse, strict=True) if level >= limits.noisy]
    if not noisy or not math.isfinite(seen.sampled_mse):
        return
    one_step = max(noisy)
    gap = _db(seen.sampled_mse, one_step)
    lead = _db(seen.mean_mse, one_step) if math.isfinite(seen.mean_mse) else math.inf
    if gap <= limits.gap_db or lead < limits.lead_db:
        return
    yield Found(
        message=f"One denoising step from noise level {max(seen.noise_levels):.3g} gives {_psnr(seen, one_step):.1f} "
        "dB, the "
        f"whole sampling loop {_psnr(seen, seen.sampled_mse):.1f} dB: {gap:.1f} dB are lost in the loop, where 3 dB "
        "are "
        "natural.",
        location=seen.where,
        numbers={
            "one_step_db": _psnr(seen, one_step),
            "sampled_db": _psnr(seen, seen.sampled_mse),
            "mean_image_db": _psnr(seen, seen.mean_mse),
            "gap_db": gap,
        },
        remedy="Compare the sampling loop with a reference sampler, and the time it passes with that of training.",
        proposals=(Proposal(treatment="reference-sampler"),),
    )


def _db(worse: float, better: float) -> float:
    return 10 * math.log10(max(worse, 1e-30) / max(better, 1e-30))


def _psnr(seen: OneStep, error: float) -> float:
    return 10 * math.log10(seen.peak**2 / error) if error > 0 else math.inf
