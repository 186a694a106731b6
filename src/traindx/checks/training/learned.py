"""Did training lower the loss? The same batches with the same draws, before and after."""

from __future__ import annotations

import torch

from traindx.checks.base import CheckContext, check
from traindx.core.undisturbed import in_mode, undisturbed
from traindx.evidence.dynamics import LossBeforeAfter

DRAWS = 4  # of time and noise, spread over two batches


@check("learned", "did training lower the loss", needs=("loss",), phase="after", gives=(LossBeforeAfter,))
def learned(ctx: CheckContext) -> None:
    """Compare the loss of the model before and after training, draw by draw, in evaluation mode."""
    assert ctx.trained is not None
    first = ctx.initial_model()
    batches = ctx.batches(2, "train")
    values: list[list[float]] = []
    for model in (first, ctx.trained):
        mine: list[float] = []
        with in_mode(model, training=False), torch.no_grad():
            for draw in range(DRAWS):
                with undisturbed(ctx.seed + draw):
                    terms = ctx.case.loss_terms(model, batches[draw % len(batches)])
                mine.append(float(sum(float(value) for value in terms.values())))
        values.append(mine)
    before, after = values
    trained = dict(ctx.trained.named_parameters())
    pairs = [(old, trained[name]) for name, old in first.named_parameters() if name in trained]
    change = sum(float((new.detach() - old.detach()).square().sum()) for old, new in pairs) ** 0.5
    size = sum(float(old.detach().square().sum()) for old, _ in pairs) ** 0.5
    ctx.record(
        LossBeforeAfter(
            before=sum(before) / len(before),
            after=sum(after) / len(after),
            differences=tuple(b - a for a, b in zip(before, after, strict=True)),
            steps=ctx.case.steps,
            moved=change / size if size > 0 else float("nan"),
        )
    )
