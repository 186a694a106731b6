"""One fixed model, scored several times: how much of a "new best" is luck?"""

from __future__ import annotations

import math
from collections.abc import Iterator
from itertools import islice
from typing import TYPE_CHECKING, Any

import torch

from traindx.checks.base import ExamRoom, exam, to_device
from traindx.checks.metrics.reference_predictions import scorer
from traindx.checks.probing import in_mode, undisturbed
from traindx.core.frames import defined_at
from traindx.evidence.deployment import RepeatedValidation

if TYPE_CHECKING:
    from torch import Tensor, nn

PASSES = 4
BATCHES = 8  # of each pass; a redrawn validation shows in the first ones


@exam(
    "repeat-validation", "does validation score a fixed model the same each time", needs=("predict", "metrics", "val")
)
def repeat_validation(room: ExamRoom) -> None:
    """Score a fresh model in several passes; each pass has its own random state, as in training."""
    if room.case.diffusion is None:
        _measure(room, room.fresh_model(), trained=False)


@exam(
    "trained-repeat-validation",
    "does validation score the trained model the same each time",
    needs=("predict", "metrics", "val"),
    phase="after",
)
def trained_repeat_validation(room: ExamRoom) -> None:
    """The same for the trained model."""
    assert room.trained is not None
    if room.case.diffusion is None:
        _measure(room, room.trained, trained=True)


def _measure(room: ExamRoom, model: nn.Module, *, trained: bool) -> None:
    name, metric = room.case.metric()
    score = scorer(room.case, metric)
    values: list[float] = []
    seen: list[list[float]] = []
    count = 0
    for number in range(PASSES):
        scores: list[float] = []
        marks: list[float] = []
        with in_mode(model, training=False), undisturbed(room.seed + number), torch.no_grad():
            for batch in _pass(room):
                target = room.target(batch)
                marks.append(_mark(target))
                value = score(room.case.prediction(model, batch), target)
                if not math.isnan(value):  # an undefined score (no object in the case) is left out of the mean
                    scores.append(value)
        count = len(marks)
        if scores:
            values.append(sum(scores) / len(scores))
            seen.append(sorted(marks))
    if len(values) < 2:
        return
    room.record(
        RepeatedValidation(
            where=defined_at(room.case.val) if callable(room.case.val) else None,
            metric=name,
            unit=metric.unit,
            values=tuple(values),
            negligible=metric.negligible,
            same_data=all(marks == seen[0] for marks in seen),
            batches=count,
            trained=trained,
        )
    )


def _pass(room: ExamRoom) -> Iterator[Any]:
    """A fresh pass over the validation batches: not the shared ones, which would hide a redrawn validation."""
    return (to_device(batch, room.case.device) for batch in islice(room.case.batches("val"), BATCHES))


def _mark(target: Tensor) -> float:
    """A number that tells targets apart: position-weighted, so that moved content shows."""
    flat = target.detach().double().flatten().cpu()
    return float((flat * torch.linspace(1, 2, flat.numel(), dtype=torch.float64)).sum()) + 1e-3 * flat.numel()
