"""From a traced run of a sampling loop to evidence: misfits of its steps, clamps, start, end, and the lines they are
at."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch
from torch import Tensor

from traindx.checks.diffusion import blame, hypotheses
from traindx.checks.diffusion.formulas import MISTAKES, Array, read
from traindx.checks.diffusion.sampler_trace import RecordedTimes, Trace, sampling_table
from traindx.checks.diffusion.step_log import EVENT_VOXELS, ClampEvent, Event, Place
from traindx.checks.diffusion.transitions import StepFit, fit_step, fit_steps, judged_voxels
from traindx.core.frames import location
from traindx.core.gaussian_oracle import noise_estimate, posterior_mean
from traindx.evidence.sampling import SamplerClamp, SamplerRun, SamplerTransitions

if TYPE_CHECKING:
    from traindx.case import Diffusion
    from traindx.finding import Location

SHOWN = 0
"""Index of the Gaussian whose mean and standard deviation are shown: the widest, off the centre."""


@dataclass(frozen=True)
class Analysis:
    """What one traced run gives."""

    run: SamplerRun
    transitions: SamplerTransitions | None
    clamps: tuple[SamplerClamp, ...]


def analyse(trace: Trace, diffusion: Diffusion, recorded: RecordedTimes, targets: Tensor) -> Analysis:
    """Measure a traced run.

    Args:
        trace: The run.
        diffusion: Its declared parts.
        recorded: The run that told the times.
        targets: Values of real targets, flat, for the clamps.
    """
    table = sampling_table(diffusion).numpy()
    with np.errstate(all="ignore"):  # impossible formulas divide by zero at ᾱ = 0 or 1; their misfit is infinite
        return _analyse(trace, diffusion, recorded, targets, table)


def _analyse(trace: Trace, diffusion: Diffusion, recorded: RecordedTimes, targets: Tensor, table: Array) -> Analysis:
    timesteps = [call.timestep for call in trace.calls]
    found = fit_steps(trace)
    post_processed = _see_through_post_processing(trace, found)
    fits = [fit for fit in found if fit is not None]
    broken = [step for step in range(len(timesteps)) if _broken(trace, step)]
    common = {
        "timesteps": tuple(timesteps),
        "table_length": len(table),
        "prediction": trace.kind,
        "batch": trace.batch,
        "dimensions": trace.dimensions,
        "dtype": str(trace.dtype).removeprefix("torch."),
        "resolution": float(torch.finfo(trace.dtype).eps),
        "nonfinite_step": broken[0] if broken else -1,
        "start_mean": float(trace.calls[0].x.mean()),
        "start_sd": float(trace.calls[0].x.std()),
        "start_alpha_bar": float(trace.alphas[timesteps[0]]),
        "start_expected_sd": _training_sd(float(trace.alphas[timesteps[0]]), targets),
        "starts_from_noise": diffusion.starts_from_noise,
        "call_where": recorded.where,
        "post_processed": post_processed,
    }
    clamps = clamps_of(trace, targets)
    if not fits:
        where = _location(blame.line_of_result(trace, broken[0])) if broken else recorded.where
        return Analysis(SamplerRun(where=where, **common), None, clamps)
    chain = hypotheses.Chain.of(
        trace.kind, table, timesteps, fits, [blame.alpha_in_x0(trace, fit.step) for fit in fits]
    )
    steps = hypotheses.exact(chain)
    explained = _explain(chain, steps.misfit, trace, fits)
    worst = int(np.argmax(steps.misfit))
    ends = _closed_form(trace, fits, steps, post_processed) if not broken else {}
    run = SamplerRun(
        where=_location(blame.line_of_result(trace, fits[worst].step)),
        stochastic=bool((chain.n > 0).any()),
        noise_seen=all(fit.noise_seen for fit in fits),
        order=max(fit.order for fit in fits),
        judged=min(int(fit.judged.sum()) for fit in fits),
        misfit=float(steps.misfit.max()),
        worst_step=fits[worst].step,
        residual=max(fit.residual for fit in fits),
        statistical_error=max(_statistical_error(fit) for fit in fits),
        final_alpha_bar=float(chain.p[-1] ** 2) if bool(chain.last[-1]) else float("nan"),
        told_alpha_error=hypotheses.told_alpha_error(chain),
        **common,
        **explained,
        **ends,
    )
    return Analysis(run, hypotheses.transitions(chain, steps), clamps)


def _explain(chain: hypotheses.Chain, own: Array, trace: Trace, fits: Sequence[StepFit]) -> dict[str, object]:
    """Misfits of the other explanations, and the line of a known mistake; nothing where the loop is exact."""
    off = hypotheses.told_alpha_error(chain)
    if float(own.max()) < hypotheses.SEEK_ABOVE and not off > hypotheses.SEEK_ABOVE:
        return {}
    shift_misfit, shift = hypotheses.shifted(chain)
    target_misfit, _ = hypotheses.other_target(chain, own)
    with_level, elsewhere = hypotheses.mistakes(chain, own), hypotheses.mistakes_elsewhere(chain, own)
    mistake_misfit, elsewhere_misfit = with_level[0][1], elsewhere[0][1]
    best = with_level if mistake_misfit <= 1.5 * elsewhere_misfit + 1e-6 else elsewhere
    fitting = {mistake.name for mistake, misfit in best if misfit <= 1.5 * best[0][1] + 1e-6}
    alike = [mistake for mistake in MISTAKES if mistake.name in fitting]
    contiguous = len(fits) == len(trace.calls)
    table_misfit, levels = hypotheses.other_table(chain) if contiguous else (float("inf"), chain.p * np.nan)
    worst_first = [fits[index].step for index in np.argsort(-own)[:5]]
    named, place = blame.line_of_mistake(trace, worst_first, alike)
    kinds = {f"misfit_as_{kind}": hypotheses.as_type(chain, kind, own) for kind in ("epsilon", "v", "sample")}
    off_timesteps, at = hypotheses.as_timesteps(levels, chain.table)
    told = chain.table[chain.timesteps]
    known = np.isfinite(levels)
    farthest = int(np.argmax(np.where(known, np.abs(np.sqrt(np.where(known, levels, 0)) - np.sqrt(told)), -1)))
    return {
        **kinds,
        "misfit_shifted": shift_misfit,
        "shift": shift,
        "misfit_other_target": target_misfit,
        "misfit_other_table": table_misfit,
        "other_table_timestep": int(chain.timesteps[farthest]) if known.any() else -1,
        "other_table_alpha_bar": float(levels[farthest]) if known.any() else float("nan"),
        "other_table_off_timesteps": off_timesteps,
        "other_table_shift": int(np.median(at - chain.timesteps)),
        "misfit_mistake": mistake_misfit,
        "misfit_mistake_elsewhere": elsewhere_misfit,
        "mistake": named.name if named else "",
        "mistake_is": named.words if named else "",
        "mistake_should_be": named.right if named else "",
        "mistake_where": _location(place),
        "mistake_symbol": blame.assigned_name(place) if place else "",
    }


def _see_through_post_processing(trace: Trace, found: list[StepFit | None]) -> bool:
    """Judge the last step by the x0 that some line computed, if the returned image is made from that afterwards.

    True if the returned image is another quantity than the last x0: of another size, rescaled, squashed, thresholded.
    """
    last = len(trace.calls) - 1
    events = trace.calls[last].after.events
    alpha = trace.alphas[trace.calls[last].timestep]
    with np.errstate(divide="ignore", invalid="ignore"):
        right = read(trace.kind, np.float64(float(alpha) ** 0.5), np.float64(float(1 - alpha) ** 0.5))[0]
    mine = [value for value in blame.values_of(trace, last, events) if value.is_close(right)]
    if trace.final is None:
        if mine:
            found[last] = _fit_event(trace, last, mine[-1].event)
        return True
    fit = found[last]
    if not mine or (fit is not None and abs(fit.p - 1) < blame.SAME and fit.residual < blame.SAME):
        return False
    if fit is not None and fit.residual < blame.SAME and abs(fit.q) > blame.SAME:
        return False  # noise is left in it: that is the loop's own arithmetic, not what is done to an image
    x0, final = mine[-1].event.values, trace.final[:EVENT_VOXELS]
    if not _is_function_of(final, x0):
        return False
    found[last] = _fit_event(trace, last, mine[-1].event)
    return True


def _is_function_of(final: Tensor, x0: Tensor) -> bool:
    """True if the returned image is a monotone function of x0: ranks agree, ties allowed where it is flat."""
    if not bool(torch.isfinite(final).all()) or float(final.std()) == 0:
        return False
    order = torch.argsort(x0)
    steps = final[order].diff()
    slack = 1e-6 * float(final.abs().max())
    return bool((steps >= -slack).all()) or bool((steps <= slack).all())


def _fit_event(trace: Trace, step: int, event: Event) -> StepFit | None:
    result = torch.full_like(trace.calls[step].x, float("nan"))
    result[: len(event.values)] = event.values
    return fit_step(trace, step, result, judged_voxels(trace, step))


def _broken(trace: Trace, step: int) -> bool:
    """True if a step made something that is not finite out of something finite."""
    before, after = trace.calls[step].x, trace.next_x(step)
    return after is not None and bool(torch.isfinite(before).all()) and not bool(torch.isfinite(after).all())


def _training_sd(alpha: float, targets: Tensor) -> float:
    """Standard deviation of x_t in training at a noise level; latents, of which no values are known, have about 1."""
    variance = float(targets.double().var()) if len(targets) > 1 else 1.0
    return float((alpha * variance + 1 - alpha) ** 0.5)


def _statistical_error(fit: StepFit) -> float:
    """Standard error of a misfit where the noise was not read off: n / sqrt(voxels), for p, q and n together."""
    return 0.0 if fit.noise_seen else 2.0 * fit.n / float(fit.judged.sum()) ** 0.5


def _closed_form(
    trace: Trace, fits: Sequence[StepFit], steps: hypotheses.ExactSteps, post_processed: bool
) -> dict[str, float]:
    """The final image against the exact chain from the same start with the same fresh noise, voxel by voxel."""
    complete = len(fits) == len(trace.calls) and trace.final is not None and not post_processed
    members = trace.member == SHOWN
    if not bool(members.any()):  # an image of a few voxels
        return {}
    shown = {"mean": float(trace.mean[members][0]), "sd": float(trace.sd[members][0])}
    if not complete or not all(fit.noise_seen for fit in fits) or any(fit.order > 1 for fit in fits):
        return shown
    assert trace.final is not None
    x = trace.calls[0].x
    good = torch.ones_like(x, dtype=torch.bool)
    for index, fit in enumerate(fits):
        level = trace.alphas[fit.timestep]
        x0 = posterior_mean(x, level, trace.mean, trace.sd)
        good &= judged_voxels(trace, index)
        x = float(steps.signal[index]) * x0 + float(steps.direction[index]) * noise_estimate(x, x0, level)
        x = x if fit.fresh is None else x + fit.fresh
    members = good & (trace.member == SHOWN)
    if int(members.sum()) < 16:
        # A broken loop drives most voxels out of the data range: show all of them that are finite.
        good = torch.isfinite(trace.final)
        members = good & (trace.member == SHOWN)
    difference = (trace.final - x)[good]
    start = trace.calls[0].x[members]
    output, expected = _moments(trace.final[members], start), _moments(x[members], start)
    return {
        **shown,
        "deviation": float(difference.abs().max()),
        "deviation_rms": float(difference.square().mean().sqrt()),
        "output_mean": output[0],
        "output_sd": output[1],
        "expected_mean": expected[0],
        "expected_sd": expected[1],
    }


def _moments(values: Tensor, start: Tensor) -> tuple[float, float]:
    """Mean and standard deviation of the output for a start of unit variance.

    Without fresh noise the output is affine in the start, so both are exact; otherwise they are those of the sample.
    """
    if len(values) < 3 or float(start.std()) == 0:
        return float(values.mean()), float("nan")
    gain = float(((start - start.mean()) * (values - values.mean())).sum() / (start - start.mean()).square().sum())
    shift = float(values.mean()) - gain * float(start.mean())
    if float((values - gain * start - shift).abs().max()) < 1e-5 * max(1e-30, float(values.abs().max())):
        return shift, abs(gain)
    return float(values.mean()), float(values.std())


def _location(place: Place | None) -> Location | None:
    return None if place is None else location(*place)


def clamps_of(trace: Trace, targets: Tensor) -> tuple[SamplerClamp, ...]:
    """Clamps inside the loop, merged by line and bounds."""
    merged: dict[tuple[Place, float, float, str], SamplerClamp] = {}
    width = trace.high - trace.low
    for step, call in enumerate(trace.calls):
        for event in call.after.clamps:
            role = _role(trace, step, event)
            if not role:
                continue
            key = (event.place, event.low, event.high, role)
            legitimate = torch.isfinite(event.before)
            if role == "x0":
                legitimate &= (event.before >= trace.low) & (event.before <= trace.high)
            changed = ((event.before - event.after).abs() > 1e-5 * width) & legitimate
            altered = float(changed.sum()) / max(1, int(legitimate.sum()))
            if key in merged:
                old = merged[key]
                merged[key] = old.model_copy(update={"calls": old.calls + 1, "altered": max(old.altered, altered)})
                continue
            cut = (targets - targets.clamp(event.low, event.high)).abs()
            merged[key] = SamplerClamp(
                where=_location(event.place),
                low=event.low,
                high=event.high,
                role=role,
                altered=altered,
                target_outside=float((cut > 1e-4 * width).double().mean()),
                target_rmse=float(cut.double().square().mean().sqrt()),
                data_low=trace.low,
                data_high=trace.high,
                library=event.library,
            )
    return tuple(merged.values())


def _role(trace: Trace, step: int, clamp: ClampEvent) -> str:
    """What a clamp is applied to: the predicted x0, or the noisy x that goes on; empty if it is something else."""
    last = step == len(trace.calls) - 1
    before = Event(clamp.place, clamp.library, clamp.before[:EVENT_VOXELS])
    unclamped = [event for event in trace.calls[step].after.clamps if event is not clamp]
    call = trace.calls[step]
    seen = call.after.clamps
    call.after.clamps = unclamped
    try:
        values = blame.values_of(trace, step, [before])
    finally:
        call.after.clamps = seen
    alpha = float(trace.alphas[call.timestep])
    with np.errstate(divide="ignore", invalid="ignore"):
        right = read(trace.kind, np.float64(alpha**0.5), np.float64(max(0.0, 1 - alpha) ** 0.5))[0]
    if values and values[0].is_close(right):
        return "x0"
    after = trace.next_x(step)
    if after is not None and bool(((clamp.after - after).abs() <= 1e-6 * float(after.abs().max())).all()):
        return "x0" if last else "state"
    return ""
