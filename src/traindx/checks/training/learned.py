"""Did training lower the loss? The same batches with the same draws, before and after."""

from __future__ import annotations

import torch

from traindx.checks.base import ExamRoom, exam
from traindx.checks.probing import in_mode, undisturbed
from traindx.evidence.dynamics import LossBeforeAfter

DRAWS = 4  # of time and noise, spread over two batches


@exam("learned", "did training lower the loss", needs=("loss",), phase="after")
def learned(room: ExamRoom) -> None:
    """Compare the loss of the model before and after training, draw by draw, in evaluation mode."""
    assert room.trained is not None
    first = room.initial_model()
    batches = room.batches(2, "train")
    values: list[list[float]] = []
    for model in (first, room.trained):
        mine: list[float] = []
        with in_mode(model, training=False), torch.no_grad():
            for draw in range(DRAWS):
                with undisturbed(room.seed + draw):
                    terms = room.case.loss_terms(model, batches[draw % len(batches)])
                mine.append(float(sum(float(value) for value in terms.values())))
        values.append(mine)
    before, after = values
    trained = dict(room.trained.named_parameters())
    pairs = [(old, trained[name]) for name, old in first.named_parameters() if name in trained]
    change = sum(float((new.detach() - old.detach()).square().sum()) for old, new in pairs) ** 0.5
    size = sum(float(old.detach().square().sum()) for old, _ in pairs) ** 0.5
    room.record(
        LossBeforeAfter(
            before=sum(before) / len(before),
            after=sum(after) / len(after),
            differences=tuple(b - a for a, b in zip(before, after, strict=True)),
            steps=room.case.steps,
            moved=change / size if size > 0 else float("nan"),
        )
    )
