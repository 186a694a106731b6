"""One training step under observation: shapes that are compared, bounds before that, and values that are clamped."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch

from traindx.checks.base import CheckContext, check
from traindx.checks.loss.clamps import Clamped
from traindx.checks.loss.recorded_loss import Bound, LossWatch, Seen
from traindx.checks.probing import modest_batch, network_of
from traindx.core.undisturbed import in_mode, undisturbed
from traindx.evidence import InOrder
from traindx.evidence.model import Comparison, HeadBounds
from traindx.evidence.observed_loss import ClampSeen

if TYPE_CHECKING:
    from torch import nn

STEPS = 2  # losses watched: two draws of time and noise
TOUCHES = 1e-4  # share of a target's values that may lie outside by round-off alone


@check(
    "training-step",
    "what the loss compares, and which values it holds within bounds",
    needs=("loss",),
    gives=(ClampSeen, Comparison, HeadBounds),
)
def training_step(ctx: CheckContext) -> None:
    """Watch the loss of a fresh model in training mode."""
    _watch(ctx, ctx.fresh_model())


@check(
    "trained-step",
    "which values the loss holds within bounds after training",
    needs=("loss",),
    phase="after",
    gives=(ClampSeen,),
)
def trained_step(ctx: CheckContext) -> None:
    """The clamps again, on the trained model."""
    assert ctx.trained is not None
    _record_clamps(ctx, [clamp for watch in _runs(ctx, ctx.trained) for clamp in watch.clamps])


def _watch(ctx: CheckContext, model: nn.Module) -> None:
    runs = _runs(ctx, model)
    _record_clamps(ctx, [clamp for watch in runs for clamp in watch.clamps])
    _record_comparisons(ctx, runs[0])
    bounded = [seen for seen in runs[0].comparisons if seen.bounds and seen.prediction.shape == seen.target.shape]
    if bounded:
        _record_bounds(ctx, model, bounded)


def _runs(ctx: CheckContext, model: nn.Module) -> list[LossWatch]:
    """Losses with their gradients, watched; parameters and their gradients are left as they were."""
    before = [(parameter, parameter.grad) for parameter in model.parameters()]
    try:
        return [_run(ctx, model, seed=ctx.seed + step, backward=True) for step in range(STEPS)]
    finally:
        for parameter, gradient in before:
            parameter.grad = gradient


def _run(
    ctx: CheckContext, model: nn.Module, *, seed: int, backward: bool, forced: Mapping[int, float] | None = None
) -> LossWatch:
    batch = modest_batch(ctx)
    names = {module: name for name, module in model.named_modules()}
    watch = LossWatch(batch, names, forced)
    state = {name: buffer.detach().clone() for name, buffer in model.named_buffers()}
    with undisturbed(seed), in_mode(model, training=True), torch.set_grad_enabled(backward):
        with watch.following(network_of(ctx.case, model)), watch:
            terms = ctx.case.loss_terms(model, batch)
        total = sum(terms.values(), torch.zeros((), device=ctx.case.device))
        if backward and total.requires_grad:
            torch.autograd.backward(total)
    with torch.no_grad():
        for name, buffer in model.named_buffers():  # running statistics are given back
            if name in state and buffer.shape == state[name].shape:
                buffer.copy_(state[name])
    return watch


def _record_comparisons(ctx: CheckContext, watch: LossWatch) -> None:
    output = watch.output_shapes[-1] if watch.output_shapes else ()
    wanted = tuple(ctx.target(modest_batch(ctx)).shape) if ctx.case.target is not None else ()
    known: set[tuple[Any, ...]] = set()
    for seen in watch.comparisons:
        record = Comparison(
            where=seen.line,
            operation=seen.operation.strip("_"),
            prediction_shape=tuple(seen.prediction.shape),
            target_shape=tuple(seen.target.shape),
            result_shape=seen.result_shape,
            is_loss=seen.is_loss,
            output_shape=output,
            wanted_shape=wanted,
        )
        key = (str(record.where), record.operation, record.prediction_shape, record.target_shape)
        if key not in known:
            known.add(key)
            ctx.record(record)


def _record_bounds(ctx: CheckContext, model: nn.Module, bounded: list[Seen]) -> None:
    """Drive the bounded operations to either end and see what values reach the comparison."""
    bounds: dict[int, Bound] = {bound.call: bound for seen in bounded for bound in seen.bounds}
    ends = []
    for end in (-1.0, 1.0):
        forced = dict.fromkeys(bounds, end)
        again = _run(ctx, model, seed=ctx.seed, backward=False, forced=forced)
        ends.append({seen.call: seen for seen in again.comparisons})
    for seen in bounded:
        one, two = ends[0].get(seen.call), ends[1].get(seen.call)
        if one is None or two is None or one.prediction.shape != seen.target.shape != two.prediction.shape:
            continue
        low = torch.minimum(one.prediction, two.prediction).double()
        high = torch.maximum(one.prediction, two.prediction).double()
        target = seen.target.double()
        distance = (low - target).clamp_min(0) + (target - high).clamp_min(0)
        slack = 1e-4 * (high - low).clamp(max=1e3)
        bound = seen.bounds[0]
        ctx.record(
            HeadBounds(
                where=bound.line,
                operation=bound.operation,
                module=bound.module,
                low=float(low.min()),
                high=float(high.max()),
                target_low=float(target.min()),
                target_high=float(target.max()),
                share_outside=float((distance > slack).double().mean()),
                lost=float(distance.square().mean() / target.var().clamp_min(1e-12)),
                compared_at=seen.line,
            )
        )


def _record_clamps(ctx: CheckContext, clamps: list[Clamped]) -> None:
    sites: dict[tuple[Any, ...], list[Clamped]] = {}
    for clamp in clamps:
        if clamp.line is not None:
            sites.setdefault((str(clamp.line), clamp.operation, clamp.low, clamp.high), []).append(clamp)
    for calls in sites.values():
        first = calls[0]
        lost = [math.sqrt(call.stopped / call.arrived) for call in calls if call.arrived > 0]
        outside = sum(call.outside for call in calls) / len(calls)
        record = ClampSeen(
            where=first.line,
            step=-1 if ctx.trained is None else ctx.case.steps,
            function=first.operation,
            low=first.low,
            high=first.high,
            calls=len(calls),
            with_gradient=sum(call.with_gradient for call in calls),
            on_bounds=outside,
            gradient_lost=sum(lost) / len(lost) if lost else 0.0,
            gradient_calls=len(lost),
            input_low=min(call.input_low for call in calls),
            input_high=max(call.input_high for call in calls),
            reaches_loss=bool(lost),
            first_on_bounds=first.outside,
            last_on_bounds=calls[-1].outside,
        )
        ctx.record(record)
        if not lost or record.gradient_lost == 0.0:
            path = "no gradient passes it" if not lost else "none of the gradient is stopped"
            detail = f"[{first.low:g}, {first.high:g}]: {100 * outside:.3g} % of the values are beyond it and {path}"
            ctx.record(InOrder(where=first.line, subject=f"{first.operation} at {first.line}", detail=detail))
