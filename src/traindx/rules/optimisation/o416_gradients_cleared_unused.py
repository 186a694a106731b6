"""O416 gradients-cleared-unused."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_optim import OptimizerSeen
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule
from traindx.rules.optimisation._shared import one_optimizer


@rule(
    "O416",
    "gradients-cleared-unused",
    Severity.CRITICAL,
    needs=(OptimizerSeen,),
    looked_at=(one_optimizer, requires(OptimizerSeen, lambda one, limits: one.steps > 0, otherwise="no step was seen")),
    bare=Threshold(0.5, "share of the steps; one or two at the start may be a trial"),
    wasted=Threshold(0.3, "share of a line's backward passes; the rest of an accumulation is less"),
    passes=Threshold(6, "backward passes that were wasted"),
)
def gradients_cleared_unused(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Gradients are computed and cleared again before the optimiser uses them.

    What it finds:
        `zero_grad()` between `backward()` and `step()`; a `step()` that stands outside the loop over batches whose
        inside clears the gradients, so that only the last batch of a pass is learned from.
    Why it stops learning:
        The step has no gradient, or that of one batch in many.
    Evidence it needs:
        OptimizerSeen (a watched script).
    How it decides:
        With one optimiser: steps after whose last backward pass the gradients were cleared are more than `bare` of
        all; or, of the backward passes from one line, more than `wasted` (and `passes`) were cleared before any step
        while others were used. Passes from lines of which none is used (an attack, a probe) do not count.
        `demonstrated`.
    Remedy:
        Clear right before `backward()` or right after `step()`, and step in the same loop.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A function that calls `backward()` for several purposes.
    References:
        PyTorch tutorials, "Optimizing model parameters": zero, backward, step.
    """
    stepping = [one for one in evidence.of(OptimizerSeen) if one.steps]
    if len(stepping) != 1:
        return
    one = stepping[0]
    every = one.wasted + one.used
    if one.steps >= limits.passes / 2 and one.bare > limits.bare * one.steps:
        yield Found(
            variant="before-the-step",
            message=f"The gradients are cleared between backward() and step(): in {one.bare} of {one.steps} steps "
            f"{one.optimizer} had nothing to use.",
            standing=Standing.DEMONSTRATED,
            location=one.wasted_at or one.stepped,
            numbers={"bare": one.bare, "steps": one.steps},
            remedy="Call zero_grad() before backward() or after step().",
        )
    elif one.wasted >= limits.passes and one.wasted > limits.wasted * every:
        yield Found(
            variant="outside-the-loop",
            message=f"Of {every} backward passes from {one.backward}, {one.wasted} were cleared before any step used "
            f"them: {one.optimizer} took {one.steps} steps.",
            standing=Standing.DEMONSTRATED,
            location=one.stepped or one.wasted_at,
            numbers={"wasted": one.wasted, "passes": every, "steps": one.steps},
            remedy="Call step() in the loop, after every backward(); or clear the gradients only after a step.",
        )
