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

from traindx.checks.base import ExamRoom, exam
from traindx.checks.diffusion.prediction_type import prediction_asked_for
from traindx.checks.diffusion.time_convention import TimeMap, readings
from traindx.checks.diffusion.training_calls import TrainingCalls, network_form, training_calls, training_time_map
from traindx.checks.probing import awake_model, batch_size, in_mode, rows_of
from traindx.core.call_recorder import UnexaminedError
from traindx.core.frames import raised_at
from traindx.evidence import Curve, NotExamined
from traindx.evidence.sampling import SamplerTransitions

if TYPE_CHECKING:
    from torch import Tensor

    from traindx.case import Diffusion
    from traindx.checks.diffusion.sampler_analysis import Analysis
    from traindx.checks.diffusion.sampler_trace import HeardTimes, Trace

TITLE = "the sampling loop, with an exact denoiser in place of the network"
UNEXPLAINED = 1e-3
"""Residual of a step, relative to x, from which it counts as doing more than a linear sampler does (guidance, a
filter)."""


LONG = 250
"""Network calls from which the loop is not run a second time with a batch of one."""


@dataclass(frozen=True)
class SamplerStudy:
    """What the exams of the sampling loop share.

    Attributes:
        heard: Times and layout.
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

    heard: HeardTimes
    convention: TimeMap
    timesteps: list[int]
    training: TimeMap | None
    kind: str
    batch: Any
    size: int
    targets: Tensor
    low: float
    high: float


@exam("sampler", TITLE, needs=("diffusion.sample",))
def sampler(room: ExamRoom) -> None:
    """Run the loop with a batch of up to two, and of one where the first was larger."""
    try:
        study = sampler_study(room)
    except UnexaminedError as reason:
        room.record(NotExamined(subject=TITLE, reason=str(reason), where=reason.where))
        return
    problem = order_of(study.timesteps)
    if problem:
        room.record(NotExamined(subject=TITLE, reason=problem, where=study.heard.where))
        return
    analysis = _examined(room, study, study.batch, study.size, TITLE)
    if analysis is None:
        return
    _write(room, analysis)
    if study.size > 1 and len(study.timesteps) <= LONG:
        single = rows_of(study.batch, slice(0, 1), study.size)
        if batch_size(room.case, single) == 1:
            again = _examined(room, study, single, 1, "the sampling loop with a batch of one")
            if again is not None and again.run.misfit > max(1e-5, 2 * analysis.run.misfit):
                _write(room, again)


def sampler_study(room: ExamRoom) -> SamplerStudy:
    """Listen to the loop once for all exams.

    Raises:
        UnexaminedError: It cannot be run or understood.
    """
    found = room.once("sampler study", lambda: _study_or_reason(room))
    if isinstance(found, UnexaminedError):
        raise found
    return found


def _study_or_reason(room: ExamRoom) -> SamplerStudy | UnexaminedError:
    try:
        return _study(room)
    except UnexaminedError as reason:
        return reason
    except Exception as error:
        where = raised_at(error)
        at = f" at {where}" if where else ""
        return UnexaminedError(f"the sampling loop stopped with {type(error).__name__}: {error}{at}", where)


def _study(room: ExamRoom) -> SamplerStudy:

    from traindx.checks.diffusion.sampler_trace import hear_times

    case, diffusion, model = room.case, _diffusion(room), awake_model(room)
    batch = room.batch("val")
    size = batch_size(case, batch)
    if size > 2:
        cut = rows_of(batch, slice(0, 2), size)
        if batch_size(case, cut) == 2:
            batch, size = cut, 2
    has_target = case.target is not None
    shape = tuple(room.target(batch).shape) if has_target else None
    with in_mode(model, training=False):
        heard = hear_times(diffusion, model, batch, shape, network_form(room), room.seed)
    calls = _training(room)
    training = calls.time_map if calls is not None else training_time_map(room, heard.layout)
    resolution = {"float16": 1e-3, "bfloat16": 8e-3}.get(heard.time_dtype, 1e-7)
    length = len(diffusion.alphas_cumprod)
    found = readings(heard.times, length, [training] if training is not None else [], resolution)
    if not found:
        shown = ", ".join(f"{float(value):.4g}" for value in heard.times[:3])
        raise UnexaminedError(
            f"the times given to the network ({shown}, ...) are none of the {length} timesteps of alphas_cumprod",
            heard.where,
        )
    low, high, targets = _range(room, batch, calls, heard, shape)
    kind = prediction_asked_for(room) or diffusion.prediction
    study = SamplerStudy(heard, found[0], _timesteps(found[0], heard), training, kind, batch, size, targets, low, high)
    for convention in found[1:]:
        other = replace(study, convention=convention, timesteps=_timesteps(convention, heard))
        if _is_exact(room, other):
            return other
    return study


def _range(
    room: ExamRoom, batch: Any, calls: TrainingCalls | None, heard: HeardTimes, shape: tuple[int, ...] | None
) -> tuple[float, float, Tensor]:
    """Data range of what is sampled, and values of real targets; unit range and none where latents are sampled."""
    import torch

    if shape is None or (heard.image_shape and heard.image_shape[1:] != shape[1:]):
        return -1.0, 1.0, torch.zeros(1, dtype=torch.float64)
    targets = room.target(batch).double().flatten().cpu()
    if calls is not None:
        return calls.data_low, calls.data_high, targets
    low, high = room.case.data_range or (float(targets.min()), float(targets.max()))
    return (low, high, targets) if high > low else (low - 1.0, high + 1.0, targets)


def _timesteps(convention: TimeMap, heard: HeardTimes) -> list[int]:
    return [int(step) for step in convention.decode(heard.times).round()]


def _is_exact(room: ExamRoom, study: SamplerStudy) -> bool:
    """True if every step is the exact one for these timesteps."""
    from traindx.checks.diffusion.sampler_analysis import analyse

    try:
        traced = _trace(room, study, study.batch, study.size)
    except Exception:  # what is wrong with the loop is told by its own exam
        return False
    return analyse(traced, _diffusion(room), study.heard, study.targets).run.misfit < UNEXPLAINED


def _diffusion(room: ExamRoom) -> Diffusion:
    assert room.case.diffusion is not None
    return room.case.diffusion


def _training(room: ExamRoom) -> TrainingCalls | None:
    try:
        return training_calls(room)
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


def _examined(room: ExamRoom, study: SamplerStudy, batch: Any, size: int, subject: str) -> Analysis | None:
    """Trace and measure one run; what goes wrong becomes *not examined* with the user's line."""
    from traindx.checks.diffusion.sampler_analysis import analyse

    try:
        traced = _trace(room, study, batch, size)
        steps = [call.timestep for call in traced.calls]
        if any(later == earlier for earlier, later in pairwise(steps)) and len(set(steps)) > 1:
            raise UnexaminedError("a timestep is used twice with different x (a solver with stages): no closed form")
    except UnexaminedError as reason:
        room.record(NotExamined(subject=subject, reason=str(reason), where=reason.where or study.heard.where))
        return None
    except Exception as error:
        where = raised_at(error)
        says = f"the loop stopped with {type(error).__name__}: {error}" + (f" at {where}" if where else "")
        room.record(NotExamined(subject=subject, reason=says, where=where))
        return None
    return analyse(traced, _diffusion(room), study.heard, study.targets)


def _trace(room: ExamRoom, study: SamplerStudy, batch: Any, size: int) -> Trace:
    """Trace in 64 bit where the loop lets types promote, else in its own precision."""
    from traindx.checks.diffusion.sampler_trace import trace

    model = awake_model(room)

    def run(widen: bool) -> Trace:
        with in_mode(model, training=False):
            return trace(
                _diffusion(room),
                model,
                batch,
                heard=study.heard,
                timesteps=study.timesteps,
                kind=study.kind,
                form=network_form(room),
                size=size,
                low=study.low,
                high=study.high,
                seed=room.seed,
                widen=widen,
            )

    try:
        return run(widen=True)
    except UnexaminedError:
        raise
    except Exception:  # a 64-bit x met a 32-bit layer of the user's
        return run(widen=False)


def _write(room: ExamRoom, analysis: Analysis) -> None:
    run = analysis.run
    if run.residual > max(UNEXPLAINED, 20 * run.resolution):
        room.record(
            NotExamined(
                subject="the formula of a sampling step",
                reason=f"step {run.worst_step + 1} of {len(run.timesteps)} adds something that is not a linear "
                "function of "
                "x, the network's output and fresh noise (guidance, a filter?), so it has no closed form",
                where=run.where,
            )
        )
    room.record(run)
    for clamp in analysis.clamps:
        room.record(clamp)
    if analysis.transitions is not None:
        room.record(analysis.transitions)
        room.record(_curve(analysis.transitions))


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
