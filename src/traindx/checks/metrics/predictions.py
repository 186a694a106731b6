"""Predictions of the trained model on validation samples, made once and shared by the exams of outputs and metrics."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from traindx.checks.probing import batch_size, in_mode, rows_of, undisturbed

if TYPE_CHECKING:
    from torch import Tensor

    from traindx.checks.base import ExamRoom

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


def predictions(room: ExamRoom) -> list[Predicted]:
    """Predictions of the deployment path (evaluation mode, no gradient), one entry a sample."""
    return room.once("predictions", lambda: _predict(room))


def _predict(room: ExamRoom) -> list[Predicted]:
    assert room.trained is not None
    found: list[Predicted] = []
    started = time.monotonic()
    first = room.batch("val")
    size = batch_size(room.case, first)
    each = max(1, room.target(first).numel() // max(1, size))
    most = max(SAMPLES[0], min(SAMPLES[1], NUMBERS // each))
    count = min(MOST_BATCHES, -(-most // size))
    with in_mode(room.trained, training=False), undisturbed(room.seed), torch.no_grad():
        for batch in room.batches(count, "val"):
            size = batch_size(room.case, batch)
            taken = min(size, most - len(found))
            rows = rows_of(batch, slice(0, taken), size) if taken < size else batch
            prediction, target = room.case.prediction(room.trained, rows).detach().cpu(), room.target(rows).cpu()
            found += [
                Predicted(rows_of(rows, slice(i, i + 1), taken), prediction[i : i + 1], target[i : i + 1])
                for i in range(min(len(prediction), len(target)))
            ]
            if len(found) >= most or (len(found) >= 2 and time.monotonic() - started > SECONDS):
                break
    return found
