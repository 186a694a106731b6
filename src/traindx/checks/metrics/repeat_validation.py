"""One fixed model, scored several times: how much of a "new best" is luck?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch

from traindx.checks.base import CheckContext, check
from traindx.checks.metrics.reference_predictions import scorer
from traindx.core.batches import to_device
from traindx.core.frames import defined_at
from traindx.core.undisturbed import in_mode, undisturbed
from traindx.evidence.deployment import RepeatedValidation

if TYPE_CHECKING:
    from torch import Tensor, nn

PASSES = 4
BATCHES = 8  # of each pass; a redrawn validation shows in the first ones


@check(
    "repeat-validation",
    "does validation score a fixed model the same each time",
    needs=("predict", "metrics", "val"),
    gives=(RepeatedValidation,),
)
def repeat_validation(ctx: CheckContext) -> None:
    """Score a fresh model in several passes; each pass has its own random state, as in training."""
    if ctx.case.diffusion is None:
        _measure(ctx, ctx.fresh_model(), trained=False)


@check(
    "trained-repeat-validation",
    "does validation score the trained model the same each time",
    needs=("predict", "metrics", "val"),
    phase="after",
    gives=(RepeatedValidation,),
)
def trained_repeat_validation(ctx: CheckContext) -> None:
    """The same for the trained model."""
    assert ctx.trained is not None
    if ctx.case.diffusion is None:
        _measure(ctx, ctx.trained, trained=True)


def _measure(ctx: CheckContext, model: nn.Module, *, trained: bool) -> None:
    name, metric = ctx.case.metric()
    score = scorer(ctx.case, metric)
    values: list[float] = []
    seen: list[list[float]] = []
    count = 0
    for number in range(PASSES):
        scores: list[float] = []
        marks: list[float] = []
        with in_mode(model, training=False), undisturbed(ctx.seed + number), torch.no_grad():
            for batch in _pass(ctx):
                target = ctx.target(batch)
                marks.append(_mark(target))
                value = score(ctx.case.prediction(model, batch), target)
                if not math.isnan(value):  # an undefined score (no object in the case) is left out of the mean
                    scores.append(value)
        count = len(marks)
        if scores:
            values.append(sum(scores) / len(scores))
            seen.append(sorted(marks))
    if len(values) < 2:
        return
    ctx.record(
        RepeatedValidation(
            where=defined_at(ctx.case.val) if callable(ctx.case.val) else None,
            metric=name,
            unit=metric.unit,
            values=tuple(values),
            negligible=metric.negligible,
            same_data=all(marks == seen[0] for marks in seen),
            batches=count,
            trained=trained,
        )
    )


def _pass(ctx: CheckContext) -> Iterator[Any]:
    """A fresh pass over the validation batches: not the shared ones, which would hide a redrawn validation."""
    return (to_device(batch, ctx.case.device) for batch in islice(ctx.case.batches("val"), BATCHES))


def _mark(target: Tensor) -> float:
    """A number that tells targets apart: position-weighted, so that moved content shows."""
    flat = target.detach().double().flatten().cpu()
    return float((flat * torch.linspace(1, 2, flat.numel(), dtype=torch.float64)).sum()) + 1e-3 * flat.numel()
