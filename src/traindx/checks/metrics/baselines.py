"""What trivial predictors reach under the first metric, so that no figure stands alone; and the trained model."""

from __future__ import annotations

import math
import time
from typing import TYPE_CHECKING, Any, Literal

import torch

from traindx.checks.base import CheckContext, check
from traindx.checks.metrics.predictions import predictions
from traindx.checks.probing import batch_size
from traindx.checks.stand_ins import is_binary
from traindx.core.batches import part_of, rows_of, tensors_in
from traindx.evidence import NotExamined
from traindx.evidence.evaluation import BaselineScore

if TYPE_CHECKING:
    from torch import Tensor

TRAINING_BATCHES = 32
MOST_TRAINING = 128
SAMPLES = 8
SECONDS = 3.0  # for reading batches
NUMBERS = 2e8  # held in memory: 800 MB of float32


@check("baselines", "what trivial predictors reach", needs=("metrics", "target"), gives=(BaselineScore,))
def baselines(ctx: CheckContext) -> None:
    """Score constants, the mean of the training targets, other samples and copies of inputs on validation samples."""
    known = _training_samples(ctx)
    samples = _validation_samples(ctx)
    scores: dict[str, list[float]] = {}
    for batch in samples:
        target = ctx.target(batch)
        for name, prediction in _trivial(ctx, known, batch, target).items():
            try:
                with torch.no_grad():
                    scores.setdefault(name, []).append(ctx.case.score(prediction, batch))
            except Exception:  # a metric that refuses a constant has no such baseline
                scores.setdefault(name, []).append(float("nan"))
    for name, values in scores.items():
        if len(values) == len(samples) and not any(math.isnan(value) for value in values):
            ctx.record(_record(ctx, name, values, informed=name not in ("constant", "zeros")))


@check(
    "model-score", "what the trained model reaches", needs=("metrics", "target"), phase="after", gives=(BaselineScore,)
)
def model_score(ctx: CheckContext) -> None:
    """Score the trained model on the same samples."""
    if ctx.case.diffusion is not None and not ctx.case.conditions:
        reason = "samples of an unconditional model are not predictions of a target"
        ctx.record(NotExamined(subject="the model's score beside trivial baselines", reason=reason))
        return
    with torch.no_grad():
        values = [
            ctx.case.score(sample.prediction.to(ctx.target(sample.batch).device), sample.batch)
            for sample in predictions(ctx)
        ]
    ctx.record(_record(ctx, "model", values, informed=True))


def _record(ctx: CheckContext, name: str, values: list[float], *, informed: bool) -> BaselineScore:
    metric_name, metric = ctx.case.metric()
    return BaselineScore(
        name=name,
        metric=metric_name,
        unit=metric.unit,
        higher_is_better=metric.higher_is_better,
        values=tuple(values),
        informed=informed,
    )


def _training_samples(ctx: CheckContext) -> list[Any]:
    """Training samples as batches of one."""
    return _singles(ctx, "train", TRAINING_BATCHES)[:MOST_TRAINING]


def _validation_samples(ctx: CheckContext) -> list[Any]:
    return _singles(ctx, "val", SAMPLES)[:SAMPLES]


def _singles(ctx: CheckContext, split: Literal["train", "val"], most: int) -> list[Any]:
    """Samples of a split, one a batch, as many batches as can be read in the time and held in memory."""
    started = time.monotonic()
    first = ctx.batches(1, split)
    seconds = max(1e-3, time.monotonic() - started)
    numbers = max(1, sum(tensor.numel() for tensor in tensors_in(first[0])))
    count = int(max(1, min(most, SECONDS / seconds, NUMBERS / numbers)))
    found: list[Any] = []
    for batch in ctx.batches(count, split):
        size = batch_size(ctx.case, batch)
        found += [rows_of(batch, slice(i, i + 1), size) for i in range(size)]
    return found


def _trivial(ctx: CheckContext, known: list[Any], batch: Any, target: Tensor) -> dict[str, Tensor]:
    """Every trivial prediction that exists for a sample. A training sample that is this very sample does not count."""
    targets = [ctx.target(other) for other in known]
    alike = [
        (other, value)
        for other, value in zip(known, targets, strict=True)
        if value.shape == target.shape and not torch.equal(value, target)
    ]
    found: dict[str, Tensor] = {"zeros": torch.zeros_like(target)}
    if not alike:
        return found
    if target.is_floating_point() and not is_binary(target):
        stack = torch.cat([value for _, value in alike])
        mean = stack.mean(0, keepdim=True)
        found |= {"constant": mean.mean().expand_as(target).clone(), "mean of the training targets": mean}
    else:
        stack = torch.cat([value for _, value in alike])
        found["constant"] = torch.full_like(target, stack.double().median().to(target.dtype).item())
    found["another sample"] = alike[0][1]
    nearest = _nearest(ctx, batch, alike)
    if nearest is not None:
        found["nearest neighbour"] = nearest
    for key in ctx.case.conditions:
        value = part_of(batch, key)
        if isinstance(value, torch.Tensor) and value.shape == target.shape and value.dtype == target.dtype:
            found[f"copy of {key}"] = value
    return found


def _nearest(ctx: CheckContext, batch: Any, alike: list[tuple[Any, Tensor]]) -> Tensor | None:
    """Target of the training sample whose conditions are nearest (Euclidean, each condition in its own units of sd)."""
    distances = torch.zeros(len(alike))
    used = False
    for key in ctx.case.conditions:
        mine = part_of(batch, key)
        theirs = [part_of(other, key) for other, _ in alike]
        if not isinstance(mine, torch.Tensor) or not all(
            isinstance(value, torch.Tensor) and value.shape == mine.shape for value in theirs
        ):
            continue
        stack = torch.stack([value.float().flatten() for value in theirs])
        spread = float(stack.std()) or 1.0
        distances += ((stack - mine.float().flatten()) / spread).square().mean(1).cpu()
        used = True
    return alike[int(distances.argmin())][1] if used else None
