"""M209 frozen-part-still-moves."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.model import FrozenPart
from traindx.finding import Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, rule


@rule("M209", "frozen-part-still-moves", Severity.MAJOR, needs=(FrozenPart,))
def frozen_part_still_moves(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A part of the model is frozen, and training changes it all the same.

    What it finds:
        Modules whose parameters are all frozen while their running statistics follow the training batches, or while
        their dropout is on. `requires_grad = False` stops neither: both depend on the mode, and `model.train()` sets
        the mode of the whole model.
    Why it stops learning:
        What comes after learns from a moving or noisy input, and in use it meets another one. The frozen part is no
        longer the one that was trained and validated.
    Evidence it needs:
        FrozenPart (check *frozen-parts*).
    How it decides:
        Two losses are computed on a fresh model in training mode. Running statistics of a frozen part that differ
        afterwards are `demonstrated`: frozen means unchanged. Dropout that is on is `suspected`, because noise on the
        features of a frozen encoder is sometimes wanted.
    Remedy:
        Put the frozen part into evaluation mode after every `model.train()`, best in an overridden `train()`.
    Trial it proposes:
        frozen-in-evaluation, where the author of the case offers it.
    Known false positives:
        Batch statistics that are adapted to new data on purpose (Li et al. 2018), and queues or codebooks held as
        buffers in a part without trained parameters.
    References:
        PyTorch, *torch.nn.BatchNorm3d*: "momentum" and "track_running_stats".
    """
    for part in evidence.of(FrozenPart):
        if part.moved:
            names = f"{part.moved[0]}" + (f" and {len(part.moved) - 1} more" if len(part.moved) > 1 else "")
            message = (
                f"{part.module} is frozen ({part.parameters:,} parameters), but {part.losses} batches in training mode "
                f"changed its {names}."
            )
            standing = Standing.DEMONSTRATED
        elif part.random:
            message = (
                f"{part.module} is frozen ({part.parameters:,} parameters), but its dropout is on in training: "
                f"{part.random[0]}."
            )
            standing = Standing.SUSPECTED
        else:
            continue
        yield Found(
            message=message,
            standing=standing,
            location=part.where,
            numbers={"parameters": part.parameters, "moved": len(part.moved), "dropout": len(part.random)},
            remedy=f"Call {part.module}.eval() after every model.train(), or override train() to do so.",
            proposals=(Proposal(treatment="frozen-in-evaluation"),),
        )
