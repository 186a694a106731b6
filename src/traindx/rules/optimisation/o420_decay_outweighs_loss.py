"""O420 decay-outweighs-loss."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from traindx.evidence.base import Evidence
from traindx.evidence.observed_optim import WeightDecaySeen
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "O420",
    "decay-outweighs-loss",
    Severity.MAJOR,
    needs=(WeightDecaySeen,),
    looked_at=requires(
        WeightDecaySeen,
        lambda one, limits: len(one.shares) >= limits.decay_looks,
        otherwise="too few iterations with weight decay were watched",
    ),
    thing="optimisers that add weight decay to gradients",
    decay_looks=Threshold(8, "watched iterations: the first few make a median"),
    decay=Threshold(0.01, "smaller ones are usual; beside a loss that is solved already their share is large as well"),
    outweighs=Threshold(2.0, "times the gradient of the loss: where training rests they balance, which is once"),
    shrunk=Threshold(0.7, "of the norm that the weights had: they do shrink"),
)
def decay_outweighs_loss(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Weight decay pulls harder at the weights than the loss does, from the first steps on.

    What it finds:
        `Adam(net.parameters(), 1e-3, weight_decay=0.5)`, a coefficient that was meant for AdamW, or for a loss that
        is summed over pixels where this one is averaged.
    Why it stops learning:
        The optimiser minimises the penalty: the weights shrink whatever the images say, and the outputs become the
        same for all of them.
    Evidence it needs:
        WeightDecaySeen (a watched script).
    How it decides:
        The gradient of the penalty, λw, is more than `outweighs` times as long as that of the loss, in the median over
        the first `decay_looks` watched iterations; λ is at least `decay`, and the weights have shrunk below `shrunk`
        of their norm: `demonstrated`. Afterwards the two may well balance, with weights that are too small: where
        training rests they are equally long in the mean.
    Remedy:
        A coefficient of 1e-5 to 1e-3 for Adam and SGD; AdamW takes .01 to .1, since it does not add the decay to the
        gradient.
    Trial it proposes:
        None; lower it.
    Known false positives:
        Pruning by decay on purpose.
    References:
        Loshchilov and Hutter, Decoupled weight decay regularization, ICLR 2019, section 2, for what is added where.
    """
    for one in evidence.of(WeightDecaySeen):
        looks = int(limits.decay_looks)
        if len(one.shares) < looks or one.decay < limits.decay or one.last_norm > limits.shrunk * one.first_norm:
            continue
        first = median(one.shares[:looks])
        if first <= limits.outweighs:
            continue
        yield Found(
            message=f"Weight decay {one.decay:g} pulls {first:.1f} times as hard as the loss at the weights of this "
            f"{one.optimizer}: their norm fell from {one.first_norm:.3g} to {one.last_norm:.3g}.",
            standing=Standing.DEMONSTRATED,
            location=one.where,
            numbers={"share": first, "decay": one.decay, "norm": one.last_norm / one.first_norm},
            remedy="Take 1e-5 to 1e-3, or AdamW, which does not add the decay to the gradient.",
        )
