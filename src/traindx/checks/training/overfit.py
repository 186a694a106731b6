"""Can the network learn one frozen sample by heart? Two learning rates, the same noise and time at every step."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import torch

from traindx.checks.base import CheckContext, check
from traindx.checks.probing import batch_size, modest_batch
from traindx.core.batches import rows_of
from traindx.core.undisturbed import in_mode, undisturbed
from traindx.evidence import Curve, NotExamined
from traindx.evidence.dynamics import FrozenFit

if TYPE_CHECKING:
    from torch import Tensor, nn

RATES = (1e-3, 1e-2)  # Adam's default, and ten times that
SECONDS = 1.5  # for each rate, on whatever machine this is
SECONDS_AFTER = 8.0
MOST_STEPS = 80
MIN_STEPS = 20  # steps below which nothing shows


@check("one-frozen-batch", "can the network learn one frozen batch by heart", needs=("loss",), gives=(FrozenFit,))
def one_frozen_batch(ctx: CheckContext) -> None:
    """Train a fresh model on one batch whose every draw is frozen, at two learning rates."""
    _learn_by_heart(ctx, SECONDS)


@check(
    "one-frozen-batch-longer",
    "the same, where the steps are slow",
    needs=("loss",),
    phase="after",
    gives=(FrozenFit,),
)
def one_frozen_batch_longer(ctx: CheckContext) -> None:
    """Take more time for it where too few steps could be made before training."""
    if not ctx.evidence.of(FrozenFit):
        _learn_by_heart(ctx, SECONDS_AFTER)


def _learn_by_heart(ctx: CheckContext, seconds: float) -> None:
    batch = modest_batch(ctx)
    size = batch_size(ctx.case, batch)
    one = rows_of(batch, slice(0, 1), size)
    if ctx.case.diffusion is not None and not _normalises_batches(ctx.fresh_model()):
        batch = one
    fits: list[FrozenFit] = []
    for rate in RATES:
        fit = _fit(ctx, batch, rate, seconds)
        if fit is None:
            reason = f"{MIN_STEPS} steps take longer than {seconds:g} s on this machine"
            ctx.record(NotExamined(subject="whether one frozen batch can be overfit", reason=reason))
            return
        fits.append(fit)
    for fit in fits:
        ctx.record(fit)
    steps = min(len(fit.losses) for fit in fits)
    if steps >= 2:
        ctx.record(
            Curve(
                name="one-frozen-batch",
                caption="Loss of one frozen batch, the same noise and time at every step, learned from scratch",
                x=tuple(float(step) for step in range(steps)),
                series={f"Adam, {fit.learning_rate:g}": fit.losses[:steps] for fit in fits},
                y_label="loss",
                log_y=min(min(fit.losses[:steps]) for fit in fits) > 0,
            )
        )


def _normalises_batches(model: nn.Module) -> bool:
    return any(isinstance(module, torch.nn.modules.batchnorm._BatchNorm) for module in model.modules())


def _fit(ctx: CheckContext, batch: Any, rate: float, seconds: float) -> FrozenFit | None:
    """A fit, or None as soon as it is clear that too few steps would fit in the time."""
    model = ctx.fresh_model()
    parameters = [parameter for parameter in model.parameters() if parameter.requires_grad]
    optimizer = torch.optim.Adam(parameters, lr=rate)
    losses: list[float] = []
    norms: list[float] = []
    started = time.monotonic()
    with in_mode(model, training=True):
        while len(losses) < MOST_STEPS and (len(losses) < MIN_STEPS or time.monotonic() - started < seconds):
            if len(losses) == 2 and (time.monotonic() - started) / 2 * MIN_STEPS > 1.5 * seconds:
                return None
            optimizer.zero_grad(set_to_none=True)
            with undisturbed(ctx.seed), torch.enable_grad():
                total = sum(ctx.case.loss_terms(model, batch).values(), torch.zeros((), device=ctx.case.device))
            losses.append(float(total.detach()))
            if not total.requires_grad or not torch.isfinite(total):
                break
            torch.autograd.backward(total)
            norms.append(_norm(parameters))
            optimizer.step()
    third = max(1, len(losses) // 3)
    tail = losses[-third:]
    middle = abs(sum(tail) / len(tail)) or 1.0
    return FrozenFit(
        learning_rate=rate,
        losses=tuple(losses),
        first=losses[0],
        best=min(losses),
        last=sum(tail[-3:]) / len(tail[-3:]),
        slope=(tail[-1] - tail[0]) / middle / max(1, len(tail) - 1),
        gradient_first=norms[0] if norms else float("nan"),
        gradient_last=norms[-1] if norms else float("nan"),
        seconds=time.monotonic() - started,
    )


def _norm(parameters: list[nn.Parameter]) -> float:
    gradients: list[Tensor] = [parameter.grad for parameter in parameters if parameter.grad is not None]
    return float(torch.stack([gradient.detach().norm() for gradient in gradients]).norm()) if gradients else 0.0
