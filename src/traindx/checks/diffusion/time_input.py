"""What the network receives as time, in the loss and in the sampling loop."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from traindx.checks.base import CheckContext, check
from traindx.checks.diffusion.call_recorder import UnexaminedError
from traindx.checks.diffusion.sampler import sampler_study
from traindx.checks.diffusion.training_calls import training_calls
from traindx.evidence import NotExamined
from traindx.evidence.sampling import TimeArgument

if TYPE_CHECKING:
    from types import CodeType

    from traindx.core.time_convention import TimeMap

TITLE = "the time that the network receives in training and in sampling"


@check("time-input", TITLE, needs=("diffusion.sample",), gives=(TimeArgument,))
def time_input(ctx: CheckContext) -> None:
    """Record both sides; a side that cannot be recorded is listed as not examined."""
    for side, record in ((f"{TITLE}: training", _training), (f"{TITLE}: sampling", _sampling)):
        try:
            ctx.record(record(ctx))
        except UnexaminedError as reason:
            ctx.record(NotExamined(subject=side, reason=str(reason), where=reason.where))


def _training(ctx: CheckContext) -> TimeArgument:
    import torch

    calls = training_calls(ctx)
    times = torch.tensor([sample.time for sample in calls.samples if not math.isnan(sample.time)], dtype=torch.float64)
    if len(times) == 0:
        raise UnexaminedError("no argument of the network looks like a time", calls.where)
    scale, offset, words = _affine(calls.time_map)
    steps = calls.time_map.decode(times) if calls.time_map is not None else torch.full_like(times, float("nan"))
    return TimeArgument(
        phase="training",
        source=calls.source,
        calls=calls.calls,
        dtype=calls.time_dtype,
        shape=calls.time_shape,
        batch=calls.batch,
        low=float(times.min()),
        high=float(times.max()),
        distinct=len(torch.unique(times)),
        convention=words,
        scale=scale,
        offset=offset,
        timestep_low=float(steps.min()),
        timestep_high=float(steps.max()),
        draws=len(times),
        where=calls.where,
    )


def _sampling(ctx: CheckContext) -> TimeArgument:
    import torch

    study = sampler_study(ctx)
    recorded = study.recorded
    scale, offset, words = _affine(study.convention)
    return TimeArgument(
        phase="sampling",
        source="sample",
        calls=recorded.calls,
        dtype=recorded.time_dtype,
        shape=recorded.time_shape,
        batch=recorded.batch,
        low=float(recorded.times.min()),
        high=float(recorded.times.max()),
        distinct=len(torch.unique(recorded.times)),
        convention=words,
        scale=scale,
        offset=offset,
        timestep_low=float(min(study.timesteps)),
        timestep_high=float(max(study.timesteps)),
        draws=recorded.calls,
        where=recorded.apart_from(_training_stack(ctx)),
    )


def _training_stack(ctx: CheckContext) -> tuple[tuple[CodeType, int], ...]:
    try:
        return training_calls(ctx).stack
    except UnexaminedError:
        return ()


def _affine(found: TimeMap | None) -> tuple[float, float, str]:
    """Scale, offset and words of a map; NaN where there is none or where it is a table."""
    return (float("nan"), float("nan"), "") if found is None else (found.scale, found.offset, found.words)
