"""What the network is given while the loss runs: noisy images, times, and how both belong to the schedule.

Shared by the checks of the time argument, of the prediction type and of the training input. The network itself does not
run: a stand-in answers with zeros.
"""

from __future__ import annotations

import math
import time
from dataclasses import dataclass, field
from types import CodeType
from typing import TYPE_CHECKING, Any

from traindx.checks.base import CheckContext
from traindx.checks.diffusion.call_recorder import (
    Layout,
    OutputForm,
    RecordedCall,
    UnexaminedError,
    blank,
    dtype_name,
    output_form,
    remember,
    shape_of,
    stand_in,
    survey,
    time_values,
)
from traindx.checks.diffusion.step_log import pick_voxels
from traindx.checks.probing import awake_model
from traindx.core.frames import location
from traindx.core.time_convention import TimeMap, affine, conventions
from traindx.core.undisturbed import in_mode, undisturbed

if TYPE_CHECKING:
    from torch import Tensor

    from traindx.case import Diffusion
    from traindx.finding import Location

DRAWS = 24
"""Noised samples listened to. The share of timesteps that 24 uniform draws leave unseen at the top is 4 % on
average."""

SECONDS = 0.6
"""Time after which listening stops, whatever was recorded."""

LONGEST_TABLE = 3.0
"""Seconds of processor time that a table of all timesteps may take, for time embeddings that are not affine."""

VOXELS = 8192
"""Voxels a noised sample is regressed on its target with: resolves the amplitude of the signal to about 1 %."""


@dataclass(frozen=True)
class NoisedSample:
    """One noised sample: ``x_t = a x0 + s z`` by regression, and the time it came with.

    Attributes:
        a: Amplitude of the target in it.
        s: Standard deviation of the rest.
        a_error: Standard error of a.
        sd: Standard deviation of x_t.
        time: Value of the time argument; NaN without one.
        voxels: Voxels behind it.
    """

    a: float
    s: float
    a_error: float
    sd: float
    time: float
    voxels: int

    @property
    def power(self) -> float:
        """``a² + s²``: 1 for a variance-preserving process."""
        return self.a**2 + self.s**2


@dataclass
class TrainingCalls:
    """Everything recorded while the loss ran.

    Attributes:
        layout: Which arguments are the noisy image and the time.
        samples: One entry a noised sample.
        stack: The user's lines that called the network, the innermost first.
        calls: Calls recorded.
        batch: Samples in the first call.
        time_dtype: Type of the time argument.
        time_shape: Its shape.
        time_map: From timesteps to values of the time argument, as in training; None if unknown.
        source: ``loss`` or ``denoise``: where the map comes from.
        data_low: Smallest value of the targets seen.
        data_high: Largest.
        data_mean: Mean of the targets.
        data_sd: Standard deviation of the targets.
    """

    layout: Layout
    samples: list[NoisedSample] = field(default_factory=list)
    stack: tuple[tuple[CodeType, int], ...] = ()
    calls: int = 0
    batch: int = 1
    time_dtype: str = ""
    time_shape: tuple[int, ...] = ()
    time_map: TimeMap | None = None
    source: str = "loss"
    data_low: float = -1.0
    data_high: float = 1.0
    data_mean: float = 0.0
    data_sd: float = 1.0

    @property
    def where(self) -> Location | None:
        """The user's line that calls the network in training."""
        return location(*self.stack[0]) if self.stack else None


def training_calls(ctx: CheckContext) -> TrainingCalls:
    """Listen to the loss of a few batches, once for all checks.

    Raises:
        UnexaminedError: The loss never calls the network, or nothing in that call looks like a noisy image.
    """
    found = ctx.once("training calls", lambda: _listen_or_reason(ctx))
    if isinstance(found, UnexaminedError):
        raise found
    return found


def _listen_or_reason(ctx: CheckContext) -> TrainingCalls | UnexaminedError:
    try:
        return _listen(ctx)
    except UnexaminedError as reason:
        return reason


def _listen(ctx: CheckContext) -> TrainingCalls:
    import torch

    case = ctx.case
    diffusion = _diffusion(ctx)
    if case.loss is None or case.target is None:
        raise UnexaminedError("the case describes no loss or no target")
    model = awake_model(ctx)
    network = diffusion.network(model)
    batches = ctx.batches(4)
    shape = tuple(ctx.target(batches[0]).shape)
    form = network_form(ctx)
    recorded: list[RecordedCall] = []
    kept: list[tuple[tuple[Any, ...], dict[str, Any], int]] = []

    def listen(*args: Any, **kwargs: Any) -> Any:
        call = remember(args, kwargs)
        recorded.append(call)
        kept.append((args, kwargs, number))
        if diffusion.read_call is not None:
            zeros = torch.zeros_like(diffusion.read_call(args, kwargs)[0])
        else:
            zeros = blank(args, kwargs, shape)
        return form.dress(zeros.requires_grad_(torch.is_grad_enabled()))

    started = time.process_time()
    number = 0
    with in_mode(model, training=True), stand_in(network, listen):
        while number < DRAWS and (number < 2 or time.process_time() - started < SECONDS):
            with undisturbed(ctx.seed + number):
                case.loss_terms(model, batches[number % len(batches)])
            number += 1
            if not recorded:
                raise UnexaminedError("the loss does not call the module that Diffusion.network returns")
            if sum(call.batch for call in recorded) >= DRAWS and number >= 2:
                break
    found = TrainingCalls(
        survey(recorded, shape, diffusion), stack=recorded[0].stack, calls=len(recorded), batch=recorded[0].batch
    )
    _measure_targets(found, ctx, batches)
    for args, kwargs, index in kept:
        _regress(found, args, kwargs, ctx.target(batches[index % len(batches)]))
    if kept:
        passed = found.layout.time_of(kept[0][0], kept[0][1])
        found.time_dtype, found.time_shape = dtype_name(passed), shape_of(passed)
    declared = _denoise_map(ctx, found.layout, model)
    found.time_map = _map_of_loss(found, diffusion, declared)
    if found.time_map is None:
        found.time_map, found.source = declared, "denoise"
    return found


def _diffusion(ctx: CheckContext) -> Diffusion:
    assert ctx.case.diffusion is not None
    return ctx.case.diffusion


def _measure_targets(found: TrainingCalls, ctx: CheckContext, batches: list[Any]) -> None:
    import torch

    values = torch.cat([ctx.target(batch).double().flatten().cpu() for batch in batches])
    found.data_mean, found.data_sd = float(values.mean()), float(values.std())
    low, high = ctx.case.data_range or (float(values.min()), float(values.max()))
    found.data_low, found.data_high = (low, high) if high > low else (low - 1.0, high + 1.0)


def _regress(found: TrainingCalls, args: tuple[Any, ...], kwargs: dict[str, Any], x0: Tensor) -> None:
    """Add one :class:`NoisedSample` for each sample of a call, where its shape is that of the target."""
    import torch

    x_t = found.layout.x_t(args, kwargs).detach()
    if x_t.shape != x0.shape:
        return
    passed = found.layout.time_of(args, kwargs)
    times = time_values(passed) if passed is not None else torch.full((1,), float("nan"))
    if len(times) not in (1, len(x0)):
        return
    voxels = pick_voxels(x0[0].numel(), VOXELS).to(x0.device)
    for row in range(len(x0)):
        x = x0[row].flatten()[voxels].double().cpu()
        y = x_t[row].flatten()[voxels].double().cpu()
        x_centred, y_centred = x - x.mean(), y - y.mean()
        power = float(x_centred.square().sum())
        if power == 0:
            continue
        a = float((x_centred * y_centred).sum()) / power
        s = float((y_centred - a * x_centred).square().mean().sqrt())
        sample = NoisedSample(a, s, s / power**0.5, float(y.std()), float(times[row if len(times) > 1 else 0]), len(x))
        found.samples.append(sample)


def network_form(ctx: CheckContext) -> OutputForm:
    """Structure of the network's output, from one real call; a plain tensor where the network cannot be run."""
    return ctx.once("network form", lambda: _form(ctx))


def _form(ctx: CheckContext) -> OutputForm:
    import torch

    diffusion = _diffusion(ctx)
    if ctx.case.target is None:
        return OutputForm()
    model = awake_model(ctx)
    batch = ctx.batch()
    x0 = ctx.target(batch)
    recorded: list[Any] = []
    network = diffusion.network(model)
    handle = network.register_forward_hook(lambda module, args, output: recorded.append(output))
    try:
        with undisturbed(ctx.seed), torch.no_grad():
            diffusion.denoise(model, x0.clone(), torch.zeros(len(x0), dtype=torch.long, device=x0.device), batch)
    except Exception:  # what is wrong with the network itself is told by other checks
        return OutputForm()
    finally:
        handle.remove()
    return output_form(recorded[0], tuple(x0.shape)) if recorded else OutputForm()


def training_time_map(ctx: CheckContext, layout: Layout) -> TimeMap | None:
    """How ``Diffusion.denoise`` passes a timestep on, for cases without a loss; None if that cannot be told."""
    if ctx.case.target is None:
        return None
    return _denoise_map(ctx, layout, awake_model(ctx))


def _denoise_map(ctx: CheckContext, layout: Layout, model: Any) -> TimeMap | None:
    """How ``Diffusion.denoise`` passes a timestep on, found by calling it with a stand-in for the network."""
    import torch

    diffusion = _diffusion(ctx)
    batch = ctx.batch()
    x0 = ctx.target(batch)
    length = len(diffusion.alphas_cumprod)
    network = diffusion.network(model)
    seen: list[float] = []

    def listen(*args: Any, **kwargs: Any) -> Any:
        passed = layout.time_of(args, kwargs)
        seen.append(float(time_values(passed)[0]) if passed is not None else float("nan"))
        return network_form(ctx).dress(torch.zeros_like(layout.x_t(args, kwargs)))

    def ask(steps: list[int]) -> list[float]:
        seen.clear()
        for step in steps:
            timestep = torch.full((len(x0),), step, dtype=torch.long, device=x0.device)
            with torch.no_grad():
                diffusion.denoise(model, x0, timestep, batch)
        return list(seen)

    probes = sorted({0, 1, length // 3, length // 2, length - 1})
    try:
        with stand_in(network, listen), undisturbed(ctx.seed):
            started = time.process_time()
            values = ask(probes)
            cost = (time.process_time() - started) / len(probes)
            if len(values) != len(probes) or any(math.isnan(value) for value in values):
                return None
            straight = affine(probes, values, length)
            if straight is not None or cost * length > LONGEST_TABLE:
                return straight
            table = tuple(ask(list(range(length))))
            return TimeMap("a table of the model", float("nan"), 0.0, table) if len(set(table)) == length else None
    except Exception:  # the call fails for the user too; the sampler's check says where
        return None


def _map_of_loss(found: TrainingCalls, diffusion: Diffusion, declared: TimeMap | None) -> TimeMap | None:
    """The convention by which the times recorded in the loss belong to the noise levels measured in its x_t."""
    import torch

    samples = [sample for sample in found.samples if not math.isnan(sample.time)]
    if not samples:
        return None
    alphas = diffusion.alphas_cumprod.detach().double().cpu()
    times = torch.tensor([sample.time for sample in samples], dtype=torch.float64)
    measured = torch.tensor([sample.a for sample in samples], dtype=torch.float64)
    errors = torch.tensor([sample.a_error for sample in samples], dtype=torch.float64).clamp_min(1e-3)
    resolution = {"float16": 1e-3, "bfloat16": 8e-3}.get(found.time_dtype, 1e-7)
    best: tuple[float, TimeMap] | None = None
    candidates = ([declared] if declared is not None else []) + list(conventions(len(alphas)))
    for candidate in candidates:
        if not candidate.fits(times, len(alphas), resolution):
            continue
        steps = candidate.decode(times).round().long()
        misfit = float(((alphas[steps].sqrt() - measured) / errors).square().mean())
        if best is None or misfit < 0.5 * best[0] - 0.5:  # a later candidate must be clearly better
            best = (misfit, candidate)
    if best is None:
        return None
    # 25 = five standard errors: the noise levels of the loss do not belong to these timesteps. The declared map stays
    # the best guess then, and the check of the training input reports the difference.
    return best[1] if best[0] < 25.0 or declared is None else declared
