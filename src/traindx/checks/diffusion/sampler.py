"""The sampling loop against the closed form of exact Gaussian denoising, voxel by voxel.

The user's ``sample(model, batch)`` runs unchanged; only the ``forward`` of its network is replaced, by the exact
denoiser of voxels that are drawn from known Gaussians. What the loop does between two calls is then known in closed
form. Time arguments are decoded first, so a loop that passes time in another form than training does is followed all
the same.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from traindx.checks.base import CheckContext, check
from traindx.checks.diffusion.call_recorder import UnexaminedError
from traindx.checks.diffusion.prediction_type import prediction_asked_for
from traindx.checks.diffusion.training_calls import TrainingCalls, network_form, training_calls, training_time_map
from traindx.checks.probing import awake_model, batch_size
from traindx.core.batches import rows_of
from traindx.core.frames import raised_at
from traindx.core.time_convention import TimeMap, readings
from traindx.core.undisturbed import in_mode
from traindx.evidence import Curve, NotExamined
from traindx.evidence.sampling import SamplerClamp, SamplerRun, SamplerTransitions

if TYPE_CHECKING:
    from torch import Tensor

    from traindx.case import Diffusion
    from traindx.checks.diffusion.sampler_analysis import Analysis
    from traindx.checks.diffusion.sampler_trace import RecordedTimes, Trace

TITLE = "the sampling loop, with an exact denoiser in place of the network"
UNEXPLAINED = 1e-3
"""Residual of a step, relative to x, from which it counts as doing more than a linear sampler does (guidance, a
filter)."""


LONG = 250
"""Network calls from which the loop is not run a second time with a batch of one."""


@dataclass(frozen=True)
class SamplerStudy:
    """What the checks of the sampling loop share.

    Attributes:
        recorded: Times and layout.
        convention: How the loop passes time.
        timesteps: What it tells the network, in order.
        training: How training passes time; None if unknown.
        kind: Prediction type that the denoiser answers in.
        batch: What the loop conditions on.
        size: Samples in it.
        targets: Values of real targets, flat.
        low: Lower end of the data range.
        high: Upper end.
    """

    recorded: RecordedTimes
    convention: TimeMap
    timesteps: list[int]
    training: TimeMap | None
    kind: str
    batch: Any
    size: int
    targets: Tensor
    low: float
    high: float


@check("sampler", TITLE, needs=("diffusion.sample",), gives=(SamplerClamp, SamplerRun, SamplerTransitions))
def sampler(ctx: CheckContext) -> None:
    """Run the loop with a batch of up to two, and of one where the first was larger."""
    try:
        study = sampler_study(ctx)
    except UnexaminedError as reason:
        ctx.record(NotExamined(subject=TITLE, reason=str(reason), where=reason.where))
        return
    problem = order_of(study.timesteps)
    if problem:
        ctx.record(NotExamined(subject=TITLE, reason=problem, where=study.recorded.where))
        return
    analysis = _examined(ctx, study, study.batch, study.size, TITLE)
    if analysis is None:
        return
    _write(ctx, analysis)
    if study.size > 1 and len(study.timesteps) <= LONG:
        single = rows_of(study.batch, slice(0, 1), study.size)
        if batch_size(ctx.case, single) == 1:
            again = _examined(ctx, study, single, 1, "the sampling loop with a batch of one")
            if again is not None and again.run.misfit > max(1e-5, 2 * analysis.run.misfit):
                _write(ctx, again)


def sampler_study(ctx: CheckContext) -> SamplerStudy:
    """Listen to the loop once for all checks.

    Raises:
        UnexaminedError: It cannot be run or understood.
    """
    found = ctx.once("sampler study", lambda: _study_or_reason(ctx))
    if isinstance(found, UnexaminedError):
        raise found
    return found


def _study_or_reason(ctx: CheckContext) -> SamplerStudy | UnexaminedError:
    try:
        return _study(ctx)
    except UnexaminedError as reason:
        return reason
    except Exception as error:
        where = raised_at(error)
        at = f" at {where}" if where else ""
        return UnexaminedError(f"the sampling loop stopped with {type(error).__name__}: {error}{at}", where)


def _study(ctx: CheckContext) -> SamplerStudy:

    from traindx.checks.diffusion.sampler_trace import hear_times

    case, diffusion, model = ctx.case, _diffusion(ctx), awake_model(ctx)
    batch = ctx.batch("val")
    size = batch_size(case, batch)
    if size > 2:
        cut = rows_of(batch, slice(0, 2), size)
        if batch_size(case, cut) == 2:
            batch, size = cut, 2
    has_target = case.target is not None
    shape = tuple(ctx.target(batch).shape) if has_target else None
    with in_mode(model, training=False):
        recorded = hear_times(diffusion, model, batch, shape, network_form(ctx), ctx.seed)
    calls = _training(ctx)
    training = calls.time_map if calls is not None else training_time_map(ctx, recorded.layout)
    resolution = {"float16": 1e-3, "bfloat16": 8e-3}.get(recorded.time_dtype, 1e-7)
    length = len(diffusion.alphas_cumprod)
    found = readings(recorded.times, length, [training] if training is not None else [], resolution)
    if not found:
        shown = ", ".join(f"{float(value):.4g}" for value in recorded.times[:3])
        raise UnexaminedError(
            f"the times given to the network ({shown}, ...) are none of the {length} timesteps of alphas_cumprod",
            recorded.where,
        )
    low, high, targets = _range(ctx, batch, calls, recorded, shape)
    kind = prediction_asked_for(ctx) or diffusion.prediction
    study = SamplerStudy(
        recorded, found[0], _timesteps(found[0], recorded), training, kind, batch, size, targets, low, high
    )
    for convention in found[1:]:
        other = replace(study, convention=convention, timesteps=_timesteps(convention, recorded))
        if _is_exact(ctx, other):
            return other
    return study


def _range(
    ctx: CheckContext, batch: Any, calls: TrainingCalls | None, recorded: RecordedTimes, shape: tuple[int, ...] | None
) -> tuple[float, float, Tensor]:
    """Data range of what is sampled, and values of real targets; unit range and none where latents are sampled."""
    import torch

    if shape is None or (recorded.image_shape and recorded.image_shape[1:] != shape[1:]):
        return -1.0, 1.0, torch.zeros(1, dtype=torch.float64)
    targets = ctx.target(batch).double().flatten().cpu()
    if calls is not None:
        return calls.data_low, calls.data_high, targets
    low, high = ctx.case.data_range or (float(targets.min()), float(targets.max()))
    return (low, high, targets) if high > low else (low - 1.0, high + 1.0, targets)


def _timesteps(convention: TimeMap, recorded: RecordedTimes) -> list[int]:
    return [int(step) for step in convention.decode(recorded.times).round()]


def _is_exact(ctx: CheckContext, study: SamplerStudy) -> bool:
    """True if every step is the exact one for these timesteps."""
    from traindx.checks.diffusion.sampler_analysis import analyse

    try:
        traced = _trace(ctx, study, study.batch, study.size)
    except Exception:  # what is wrong with the loop is told by its own check
        return False
    return analyse(traced, _diffusion(ctx), study.recorded, study.targets).run.misfit < UNEXPLAINED


def _diffusion(ctx: CheckContext) -> Diffusion:
    assert ctx.case.diffusion is not None
    return ctx.case.diffusion


def _training(ctx: CheckContext) -> TrainingCalls | None:
    try:
        return training_calls(ctx)
    except UnexaminedError:
        return None


def order_of(timesteps: list[int]) -> str:
    """Why a sequence of timesteps cannot be followed step by step; empty if it can.

    It must go down. Equal neighbours are allowed here: repeated calls with one x are merged when the loop is traced.
    A sequence that goes up throughout is followed too, since that is a fault of its own.
    """
    down = [later <= earlier for earlier, later in pairwise(timesteps)]
    if all(down) or not any(later < earlier for earlier, later in pairwise(timesteps)):
        return ""
    return "the timesteps go up and down (a solver with stages, or resampling), so its steps have no single closed form"


def _examined(ctx: CheckContext, study: SamplerStudy, batch: Any, size: int, subject: str) -> Analysis | None:
    """Trace and measure one run; what goes wrong becomes *not examined* with the user's line."""
    from traindx.checks.diffusion.sampler_analysis import analyse

    try:
        traced = _trace(ctx, study, batch, size)
        steps = [call.timestep for call in traced.calls]
        if any(later == earlier for earlier, later in pairwise(steps)) and len(set(steps)) > 1:
            raise UnexaminedError("a timestep is used twice with different x (a solver with stages): no closed form")
    except UnexaminedError as reason:
        ctx.record(NotExamined(subject=subject, reason=str(reason), where=reason.where or study.recorded.where))
        return None
    except Exception as error:
        where = raised_at(error)
        says = f"the loop stopped with {type(error).__name__}: {error}" + (f" at {where}" if where else "")
        ctx.record(NotExamined(subject=subject, reason=says, where=where))
        return None
    return analyse(traced, _diffusion(ctx), study.recorded, study.targets)


def _trace(ctx: CheckContext, study: SamplerStudy, batch: Any, size: int) -> Trace:
    """Trace in 64 bit where the loop lets types promote, else in its own precision."""
    from traindx.checks.diffusion.sampler_trace import trace

    model = awake_model(ctx)

    def run(widen: bool) -> Trace:
        with in_mode(model, training=False):
            return trace(
                _diffusion(ctx),
                model,
                batch,
                recorded=study.recorded,
                timesteps=study.timesteps,
                kind=study.kind,
                form=network_form(ctx),
                size=size,
                low=study.low,
                high=study.high,
                seed=ctx.seed,
                widen=widen,
            )

    try:
        return run(widen=True)
    except UnexaminedError:
        raise
    except Exception:  # a 64-bit x met a 32-bit layer of the user's
        return run(widen=False)


def _write(ctx: CheckContext, analysis: Analysis) -> None:
    run = analysis.run
    if run.residual > max(UNEXPLAINED, 20 * run.resolution):
        ctx.record(
            NotExamined(
                subject="the formula of a sampling step",
                reason=f"step {run.worst_step + 1} of {len(run.timesteps)} adds something that is not a linear "
                "function of "
                "x, the network's output and fresh noise (guidance, a filter?), so it has no closed form",
                where=run.where,
            )
        )
    ctx.record(run)
    for clamp in analysis.clamps:
        ctx.record(clamp)
    if analysis.transitions is not None:
        ctx.record(analysis.transitions)
        ctx.record(_curve(analysis.transitions))


def _curve(steps: SamplerTransitions) -> Curve:
    """Noise level that each step goes to, and the one that the next step starts from."""
    level: Callable[[float], float] = lambda alpha: max(0.0, 1 - alpha) ** 0.5  # noqa: E731
    return Curve(
        name="sampler-transitions",
        caption="Noise level that each sampling step goes to, and the level that the next step starts from",
        x=tuple(float(index + 1) for index in range(len(steps.timesteps))),
        series={
            "goes to": tuple(level(alpha) for alpha in steps.alpha_bar_reached),
            "next starts from": tuple(level(alpha) for alpha in steps.alpha_bar_next),
        },
        x_label="sampling step",
        y_label="noise level sqrt(1 - alpha bar)",
    )
