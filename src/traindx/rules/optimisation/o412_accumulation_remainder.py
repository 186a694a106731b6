"""O412 too-few-updates: the remainder of an accumulation."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed import IterationsSeen
from traindx.evidence.observed_optim import OptimizerSeen
from traindx.evidence.observed_state import LoaderSeen
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule
from traindx.rules.optimisation._shared import one_optimizer, times


@rule(
    "O412",
    "too-few-updates",
    Severity.MAJOR,
    needs=(OptimizerSeen, IterationsSeen),
    looked_at=(
        one_optimizer,
        requires(
            LoaderSeen,
            lambda loader, limits: loader.trains and loader.passes > 1,
            otherwise="no pass over the training data ended while the script was watched",
        ),
    ),
    lost=Threshold(0.02, "share of all backward passes; one batch in fifty is no loss"),
    few=Threshold(8, "optimiser steps a pass over the data, below which accumulation starves the training"),
    batches=Threshold(40, "batches a pass; a data set smaller than that has few steps whatever one does"),
)
def too_few_updates(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Accumulated gradients are lost or carried over at the end of every pass, or leave too few updates.

    What it finds:
        Backward passes at the end of a pass over the data that no step used: cleared at the start of the next pass
        (lost), or mixed into its first step (carried over). And accumulation that leaves fewer than `few` steps a pass.
    Why it stops learning:
        Lost samples are never learned from; carried gradients belong to older weights and make the first step too
        large; and a rate that suits hundreds of steps does nothing in five.
    Evidence it needs:
        OptimizerSeen, LoaderSeen, IterationsSeen (a watched script that reads a `DataLoader`).
    How it decides:
        Backward passes since the last step, counted when the loader's pass ends. A step for the remainder after the
        loop is fine, and so is a step with its usual number of backward passes wherever the pass ends: under
        `cycle(loader)`, or with a loader that looks ahead. Lost or carried passes are `demonstrated`; too few steps a
        pass are `suspected`. More than one
        optimiser is not judged, because their backward passes cannot be told apart.
    Remedy:
        Step once more after the loop with what is left, or make the number of batches a multiple of the accumulation.
    Trial it proposes:
        None; fix it.
    Known false positives:
        None known for the first two. A pass over a very small data set has few steps by nature.
    References:
        None.
    """
    stepping = [optimizer for optimizer in evidence.of(OptimizerSeen) if optimizer.steps]
    if len(stepping) != 1:
        return
    optimizer = stepping[0]
    seen = evidence.of(IterationsSeen)[-1]
    loader = next((loader for loader in evidence.of(LoaderSeen) if loader.trains), None)
    where = optimizer.stepped or optimizer.where
    if optimizer.leaked:
        yield Found(
            message=f"At the end of a pass over the data, gradients of an unfinished accumulation stay and are mixed "
            f"into the first step of the next pass ({optimizer.leaked} times; {optimizer.accumulation} backward passes "
            f"make a step" + (f", {loader.batches} batches a pass)." if loader is not None else ")."),
            standing=Standing.DEMONSTRATED,
            location=where,
            numbers={"carried_over": optimizer.leaked, "accumulation": optimizer.accumulation},
            remedy="Take a step for the remainder after the loop, and clear the gradients.",
        )
    elif optimizer.lost > limits.lost * seen.backwards:
        yield Found(
            message=f"{optimizer.lost} of {seen.backwards} backward passes were thrown away: their gradients were "
            f"cleared at the start of a pass before any step used them.",
            standing=Standing.DEMONSTRATED,
            location=where,
            severity=Severity.MINOR,
            numbers={"lost": optimizer.lost, "backward_passes": seen.backwards, "accumulation": optimizer.accumulation},
            remedy="Take a step for the remainder after the loop.",
        )
    if loader is not None and optimizer.accumulation > 1 and 0 < loader.batches // optimizer.accumulation < limits.few:
        each = loader.batches // optimizer.accumulation
        if loader.batches >= limits.batches:
            yield Found(
                message=f"Accumulating {optimizer.accumulation} batches leaves {times(each, 'optimiser step')} a pass "
                f"over {loader.batches} batches.",
                location=where,
                numbers={"steps_a_pass": each, "accumulation": optimizer.accumulation, "batches": loader.batches},
                remedy="Accumulate less, or raise the learning rate and the number of passes accordingly.",
            )
