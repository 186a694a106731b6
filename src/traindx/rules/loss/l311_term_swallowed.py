"""L311 term-saturated-or-swallowed."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed import IterationsSeen, SwallowedException
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "L311",
    "term-saturated-or-swallowed",
    Severity.CRITICAL,
    needs=(IterationsSeen,),
    iterations=Threshold(3, "iterations in which the same exception was swallowed; one odd batch may be handled so"),
)
def term_swallowed(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Part of the training raises an exception in every iteration, and the script swallows it.

    What it finds:
        A torch call that raises inside a `try` whose `except` lets the training go on, typically a loss term that is
        replaced by a constant. In the loss of a case also a term that is at its ceiling from the start.
    Why it stops learning:
        The term is not there, and nothing says so.
    Evidence it needs:
        SwallowedException (a watched script); or SwallowedInLoss (check *loss-operations*); or TermGradient and
        StandInLoss (checks *gradients* and *loss-order*).
    How it decides:
        The same exception at the same line in at least `iterations` watched iterations that all went on to the
        optimiser's step, and a `try` around one of the lines of its stack: `demonstrated`. Of a case: the same torch
        operation raises in every loss, and a term is a constant that is connected to no parameter: `demonstrated`. Or a
        connected term has a gradient of exactly zero and a value that does not move with the weights, although it is
        smaller for the truth: `demonstrated` if it is so within 5 % of the truth too, else `suspected`; silent where
        L306 names the clamp.
    Remedy:
        Mend what raises; catch only what is expected, and log it.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A probing call that is expected to fail on some systems, if it is made in every iteration.
    References:
        None.
    """
    for swallowed in evidence.of(SwallowedException):
        if swallowed.iterations < limits.iterations:
            continue
        yield Found(
            message=f"{swallowed.function} raises {swallowed.error!r} in every watched iteration ({swallowed.times} "
            f"times), and the except at {swallowed.handler} hides it.",
            standing=Standing.DEMONSTRATED,
            location=swallowed.where,
            numbers={"times": swallowed.times, "iterations": swallowed.iterations, "handler": str(swallowed.handler)},
            remedy="Mend what raises here, and let the except catch only what is expected.",
        )
