"""O406 gradients-never-zeroed."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_optim import OptimizerSeen
from traindx.finding import Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "O406",
    "gradients-never-zeroed",
    Severity.CRITICAL,
    needs=(OptimizerSeen,),
    looked_at=requires(
        OptimizerSeen,
        lambda one, limits: one.zeroed + one.never_zeroed >= limits.pairs,
        otherwise="too few pairs of steps were watched",
    ),
    pairs=Threshold(
        3, "pairs of steps between which nothing was cleared; one could be an accident of the loop's start"
    ),
    share=Threshold(0.9, "share of all pairs of steps; a remainder at an epoch's end is O412"),
)
def gradients_never_zeroed(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Every step uses the sum of all gradients since the beginning, because nothing clears them.

    What it finds:
        An optimiser whose gradients of one step are still there, in the same tensor, when it takes the next.
    Why it stops learning:
        The direction of a step is dominated by gradients of weights that no longer exist.
    Evidence it needs:
        OptimizerSeen (a watched script).
    How it decides:
        After a step a weak reference to one gradient a group is kept. If a backward pass finds that gradient as the
        step left it and adds to it, and the next step still uses the sum (clipped or not), the pair counts. It does not
        matter how a script clears. Gradients that are assigned, or come from `torch.autograd.grad`, are not added to
        and do not count. `demonstrated`.
    Remedy:
        `optimizer.zero_grad()` before every `backward()`, or once an accumulation.
    Trial it proposes:
        `zero-gradients` before that backward pass.
    Known false positives:
        None known.
    References:
        PyTorch, "Zeroing out gradients in PyTorch" (recipe).
    """
    for optimizer in evidence.of(OptimizerSeen):
        pairs = optimizer.never_zeroed + optimizer.zeroed
        if optimizer.never_zeroed < limits.pairs or optimizer.never_zeroed < limits.share * pairs:
            continue
        yield Found(
            message=f"Gradients are never cleared: in {optimizer.never_zeroed} of {pairs} steps of "
            f"{optimizer.optimizer} the gradient of the step before was still there and was added to.",
            standing=Standing.DEMONSTRATED,
            location=optimizer.backward or optimizer.stepped or optimizer.where,
            numbers={"steps_with_old_gradients": optimizer.never_zeroed, "steps": pairs},
            remedy="Call optimizer.zero_grad() before this backward().",
            proposals=(Proposal(treatment="zero-gradients"),),
        )
