"""T902 cannot-overfit-one-batch."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.dynamics import FrozenFit
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "T902",
    "cannot-overfit-one-batch",
    Severity.MINOR,
    needs=(FrozenFit,),
    looked_at=requires(
        FrozenFit,
        lambda fit, limits: len(fit.losses) >= limits.fewest and fit.first > 0,
        otherwise="too few steps on one batch fitted into the time",
    ),
    fewest=Threshold(20, "steps; fewer show nothing"),
    left=Threshold(
        0.9, "of the first loss: eleven kinds of healthy networks fell to 0.52 or below at one of the rates"
    ),
    flat=Threshold(2e-3, "relative change a step over the last third: 2 % in ten steps"),
    agree=Threshold(0.05, "relative difference between the losses reached at two learning rates"),
    floor=Threshold(0.3, "of the first loss: a plateau far above what learning by heart must reach"),
    gradient=Threshold(
        0.3, "of the first gradient norm: at a floor the gradient is spent, before a slow start it is not"
    ),
)
def cannot_overfit_one_batch(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """The network cannot learn a single frozen batch by heart.

    What it finds:
        A loss that stays up although every input, draw of noise and time is the same at every step.
    Why it stops learning:
        What cannot be overfit will not be learned from data: the capacity, the wiring or the loss is at fault,
        not the amount of data or its order.
    Evidence it needs:
        FrozenFit (check *one-frozen-batch*).
    How it decides:
        A fresh model is trained by Adam at two learning rates, a factor of ten apart, for at most 80 steps. If the best
        of them is still above `left` of the first loss, it is `suspected`: it may need more steps. `demonstrated` only
        if a floor shows that does not depend on the learning rate: the loss has fallen, both rates are flat (`flat`),
        agree within `agree`, stand above `floor` of the first loss, and the gradient is spent (`gradient`).
    Remedy:
        Look at what the network can express (M210), at its loss at the truth (L312) and at dead parts (M207).
    Trial it proposes:
        None of its own.
    Known false positives:
        Losses with a floor of their own (soft labels, entropy) look like a floor of the network.
    References:
        Karpathy, A recipe for training neural networks, 2019 (overfit one batch).
    """
    fits = [fit for fit in evidence.of(FrozenFit) if len(fit.losses) >= limits.fewest and fit.first > 0]
    if not fits or len(fits) < len(evidence.of(FrozenFit)):
        return
    reached = min(fit.best / fit.first for fit in fits)
    rates = " and ".join(f"{fit.learning_rate:g}" for fit in fits)
    steps = min(len(fit.losses) for fit in fits)
    if _same_floor(fits, limits):
        floor = min(fit.last for fit in fits)
        yield Found(
            message=f"One frozen batch cannot be overfit: at learning rates {rates} alike the loss settles at "
            f"{floor:.3g} of {fits[0].first:.3g} within {steps} steps and its gradient is spent.",
            standing=Standing.DEMONSTRATED,
            numbers={"first": fits[0].first, "floor": floor, "steps": steps},
            remedy="Look at what the network can express, at the loss of a perfect prediction, and at dead parts.",
            pictures=("one-frozen-batch",),
        )
    elif reached > limits.left:
        yield Found(
            message=f"{steps} steps on one frozen batch, the same noise and time at every step, lower the loss from "
            f"{fits[0].first:.3g} to {100 * reached:.0f} % of it at best (learning rates {rates}).",
            numbers={"first": fits[0].first, "best_share": round(reached, 4), "steps": steps},
            remedy="Let it run longer on this one batch; if it does not fall towards zero, the network or the loss is "
            "at fault, not the data.",
            pictures=("one-frozen-batch",),
        )


def _same_floor(fits: list[FrozenFit], limits: Limits) -> bool:
    lasts = [fit.last for fit in fits]
    return (
        len(fits) >= 2
        and max(lasts) <= (1 + limits.agree) * min(lasts)
        and all(abs(fit.slope) < limits.flat for fit in fits)
        and all(limits.floor * fit.first < fit.last < 0.95 * fit.first for fit in fits)
        and all(fit.gradient_last < limits.gradient * fit.gradient_first for fit in fits)
    )
