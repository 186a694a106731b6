"""M209 frozen-part-still-moves, in a watched script."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_state import FrozenSeen
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "M209",
    "frozen-part-still-moves",
    Severity.MAJOR,
    needs=(FrozenSeen,),
    looked_at=requires(
        FrozenSeen,
        lambda one, limits: one.looks >= limits.frozen_looks,
        thing="frozen parts with running statistics in training mode",
    ),
    frozen_looks=Threshold(3, "later calls at which the part was looked at"),
    frozen_steps=Threshold(8, "optimiser steps between them: statistics that are set anew in between are meant so"),
    drift=Threshold(0.1, "standard deviations of the features; batches of the same data stay well below"),
)
def frozen_statistics_move(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A part is frozen and in training mode, so its batch norms follow the new data.

    Before calls of a network in training mode, parts without a weight that takes gradients are looked at: over
    `frozen_looks` calls and `frozen_steps` optimiser steps no weight changed, and a running mean went by more than
    `drift` standard deviations. Parts with fresh statistics (random features), those whose weights take gradients at
    other calls (the discriminator of a GAN), and those whose weights are moved by hand (a teacher) are left alone.
    `suspected`: statistics are sometimes adapted on purpose.
    """
    for one in evidence.of(FrozenSeen):
        if one.thawed or not one.used_before or one.looks < limits.frozen_looks or one.iterations < limits.frozen_steps:
            continue
        if one.statistics_moved < limits.drift:
            continue
        yield Found(
            variant="statistics",
            message=f"{one.part} of {one.network} is frozen ({one.parameters:,} parameters, none changed in "
            f"{one.iterations} steps) and in training mode: the running statistics of its normalisation layers "
            f"followed the new data by {one.statistics_moved:.2g} standard deviations, so it is not the part that was "
            "trained before.",
            location=one.where,
            numbers={"parameters": one.parameters, "drift": one.statistics_moved, "steps": one.iterations},
            remedy=f"Call {one.part}.eval() after every model.train(), or override train() to do so.",
        )
