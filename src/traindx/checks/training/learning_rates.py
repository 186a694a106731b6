"""How far can the learning rates of a case carry its weights, and does the loss fall faster with larger ones?

The reach is measured in three steps. Only where it is short are a few more steps taken, at the case's own rates and at
larger ones, from the same weights and on the same frozen batch.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import torch

from traindx.checks.base import CheckContext, check
from traindx.core.frames import defined_at
from traindx.core.undisturbed import in_mode, undisturbed
from traindx.evidence.training_state import RateProbe

if TYPE_CHECKING:
    from torch import nn

LOOK = 3
STEPS = 16
SHORT = 1.0  # a weight that can go less than its own size in the whole training is worth a closer look
FACTORS = (1.0, 10.0, 100.0)


@check(
    "rate-probe", "how far the learning rates can carry the weights", needs=("loss", "optimizer"), gives=(RateProbe,)
)
def rate_probe(ctx: CheckContext) -> None:
    """Measure the reach, and where it is short the fall of the loss at larger rates."""
    make = ctx.case.optimizer
    assert make is not None
    batch = ctx.batch()
    rates, reach = _reach(ctx, batch)
    factors = FACTORS if 0 < reach < SHORT else ()
    falls = tuple(_fall(ctx, batch, factor) for factor in factors)
    ctx.record(
        RateProbe(
            where=defined_at(make),
            rates=rates,
            reach=reach,
            steps=STEPS,
            planned=ctx.case.steps,
            factors=factors,
            falls=falls,
        )
    )


def _reach(ctx: CheckContext, batch: Any) -> tuple[tuple[float, ...], float]:
    model = ctx.fresh_model()
    with undisturbed(ctx.seed), in_mode(model, training=True), torch.enable_grad():
        optimizer = ctx.case.optimizer(model.parameters())  # type: ignore[misc]
        groups = [[p for p in group["params"] if p.ndim > 1] for group in optimizer.param_groups]
        before = [[p.detach().clone() for p in group] for group in groups]
        rates: tuple[float, ...] = ()
        for _ in range(LOOK):
            _step(ctx, model, batch, optimizer)
            # a warm-up rises: the rates of the last step looked at count
            rates = tuple(
                max(float(group["lr"]), rate)
                for group, rate in zip(
                    optimizer.param_groups, rates or [0.0] * len(optimizer.param_groups), strict=True
                )
            )
    ratios = []
    for old, new in zip(before, groups, strict=True):
        size = math.sqrt(sum(float(p.square().sum()) for p in old))
        moved = math.sqrt(sum(float((q.detach() - p).square().sum()) for p, q in zip(old, new, strict=True)))
        if size > 0:
            ratios.append(moved / size / LOOK)
    return rates, max(ratios, default=0.0) * ctx.case.steps


def _fall(ctx: CheckContext, batch: Any, factor: float) -> float:
    """Relative fall of the loss in a few steps at a multiple of the case's rates."""
    model = ctx.fresh_model()
    with undisturbed(ctx.seed), in_mode(model, training=True), torch.enable_grad():
        optimizer = ctx.case.optimizer(model.parameters())  # type: ignore[misc]
        for group in optimizer.param_groups:
            group["lr"] = group["lr"] * factor
        losses = [_step(ctx, model, batch, optimizer) for _ in range(STEPS)]
    first, last = losses[0], sum(losses[-3:]) / 3
    return (first - last) / abs(first) if math.isfinite(last) and first != 0 else math.nan


def _step(ctx: CheckContext, model: nn.Module, batch: Any, optimizer: torch.optim.Optimizer) -> float:
    torch.manual_seed(ctx.seed)  # the same noise at every step: only the weights change
    loss = torch.stack([value.reshape(()) for value in ctx.case.loss_terms(model, batch).values()]).sum()
    optimizer.zero_grad(set_to_none=True)
    torch.autograd.backward(loss)
    optimizer.step()
    return float(loss.detach())
