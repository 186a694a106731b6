"""Predictions of the trained model on validation samples, made once and shared by the checks of outputs and metrics."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from traindx.checks.probing import batch_size
from traindx.core.batches import rows_of
from traindx.core.undisturbed import in_mode, undisturbed

if TYPE_CHECKING:
    from torch import Tensor

    from traindx.checks.base import CheckContext

SAMPLES = (8, 64)  # of volumes and images; of small outputs such as labels
NUMBERS = 200_000  # in all predictions, above which samples count as large
MOST_BATCHES = 16
SECONDS = 20.0  # after which no further batch is begun, once there are two samples


@dataclass(frozen=True)
class Predicted:
    """One validation sample: the batch of one, its prediction and its target, on the CPU."""

    batch: Any
    prediction: Tensor
    target: Tensor


def predictions(ctx: CheckContext) -> list[Predicted]:
    """Predictions of the deployment path (evaluation mode, no gradient), one entry a sample."""
    return ctx.once("predictions", lambda: _predict(ctx))


def _predict(ctx: CheckContext) -> list[Predicted]:
    assert ctx.trained is not None
    found: list[Predicted] = []
    started = time.monotonic()
    first = ctx.batch("val")
    size = batch_size(ctx.case, first)
    each = max(1, ctx.target(first).numel() // max(1, size))
    most = max(SAMPLES[0], min(SAMPLES[1], NUMBERS // each))
    count = min(MOST_BATCHES, -(-most // size))
    with in_mode(ctx.trained, training=False), undisturbed(ctx.seed), torch.no_grad():
        for batch in ctx.batches(count, "val"):
            size = batch_size(ctx.case, batch)
            taken = min(size, most - len(found))
            rows = rows_of(batch, slice(0, taken), size) if taken < size else batch
            prediction, target = ctx.case.prediction(ctx.trained, rows).detach().cpu(), ctx.target(rows).cpu()
            found += [
                Predicted(rows_of(rows, slice(i, i + 1), taken), prediction[i : i + 1], target[i : i + 1])
                for i in range(min(len(prediction), len(target)))
            ]
            if len(found) >= most or (len(found) >= 2 and time.monotonic() - started > SECONDS):
                break
    return found
