"""The noisy image that the loss gives the network, regressed on its target: is it √ᾱ x0 + √(1-ᾱ) ε?"""

from __future__ import annotations

import math

import torch

from traindx.checks.base import CheckContext, check
from traindx.checks.diffusion.call_recorder import UnexaminedError
from traindx.checks.diffusion.training_calls import NoisedSample, TrainingCalls, training_calls
from traindx.evidence import NotExamined
from traindx.evidence.sampling import TrainingInput

TITLE = "the noisy image in training"


@check("training-input", TITLE, needs=("diffusion", "loss", "target"), gives=(TrainingInput,))
def training_input(ctx: CheckContext) -> None:
    """Measure amplitude of the target and of the noise in what the network sees."""
    try:
        calls = training_calls(ctx)
    except UnexaminedError as reason:
        ctx.record(NotExamined(subject=TITLE, reason=str(reason), where=reason.where))
        return
    if not calls.samples:
        why = "the noisy image has another shape than the target, so the one cannot be found in the other"
        ctx.record(NotExamined(subject=TITLE, reason=why, where=calls.where))
        return
    assert ctx.case.diffusion is not None
    ctx.record(_measure(calls, ctx.case.diffusion.alphas_cumprod.detach().double().cpu()))


def _measure(calls: TrainingCalls, alphas: torch.Tensor) -> TrainingInput:
    off = max(calls.samples, key=lambda sample: abs(sample.power - 1) - 5 * _power_error(sample))
    signal = _signal(calls, alphas)
    return TrainingInput(
        draws=len(calls.samples),
        data_mean=calls.data_mean,
        data_sd=calls.data_sd,
        data_low=calls.data_low,
        data_high=calls.data_high,
        input_sd_low=min(sample.sd for sample in calls.samples),
        input_sd_high=max(sample.sd for sample in calls.samples),
        power_error=abs(off.power - 1),
        power_error_resolution=_power_error(off),
        power_sum=off.power,
        where=calls.where,
        **signal,
    )


def _power_error(sample: NoisedSample) -> float:
    """Standard error of ``a² + s²``: of a² by the regression (with its bias, its variance), of s² by sample size."""
    of_signal = (4 * sample.a**2 * sample.a_error**2 + 2 * sample.a_error**4) ** 0.5 + sample.a_error**2
    return float((of_signal**2 + 2 * sample.s**4 / sample.voxels) ** 0.5)


def _signal(calls: TrainingCalls, alphas: torch.Tensor) -> dict[str, float | int]:
    """The draw whose amplitude of the target is farthest from sqrt(ᾱ) of its timestep, in standard errors."""
    worst: tuple[float, dict[str, float | int]] = (-1.0, {})
    for sample in calls.samples:
        if calls.time_map is None or math.isnan(sample.time):
            continue
        step = float(calls.time_map.decode(torch.tensor([sample.time], dtype=torch.float64))[0])
        if not -0.5 < step < len(alphas) - 0.5:
            continue
        expected = float(alphas[round(step)].sqrt())
        error = abs(sample.a - expected)
        if error / max(sample.a_error, 1e-4) > worst[0]:
            worst = (
                error / max(sample.a_error, 1e-4),
                {
                    "signal_error": error,
                    "signal_error_resolution": sample.a_error,
                    "signal_error_at": round(step),
                    "signal_found": sample.a,
                    "signal_expected": expected,
                },
            )
    return worst[1]
