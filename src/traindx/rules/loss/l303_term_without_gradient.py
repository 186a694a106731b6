"""L303 term-without-gradient."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.loss import TermGradient
from traindx.finding import Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, rule


@rule("L303", "term-without-gradient", Severity.MAJOR, needs=(TermGradient,))
def term_without_gradient(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A loss term is reported and summed, but gives nothing back to the parameters.

    What it finds:
        Terms computed under `no_grad`, on detached, rounded or thresholded values, through `.item()` or an integer
        cast, or constants.
    Why it stops learning:
        Its weight has no effect, whatever it is: the training believes in a term that is not there.
    Evidence it needs:
        TermGradient (check *gradients*).
    How it decides:
        Each term is differentiated with respect to all trained parameters, with up to six seeds. A term whose value
        follows the network's weights but whose gradient is missing or exactly zero each time is `demonstrated`. A
        constant that is not zero is `suspected`. A term that is zero (switched off, or satisfied) is left alone.
    Remedy:
        Keep the computation in tensors that carry a gradient; replace thresholds by soft ones.
    Trial it proposes:
        `drop-term`: without the term, training must be bit-identical; and the patch that lets its gradient through.
    Known false positives:
        Terms that are listed for logging only.
    References:
        None.
    """
    terms = evidence.of(TermGradient)
    for term in terms:
        dead = not term.differentiable or term.norm == 0
        if not dead or term.value == 0:
            continue
        if not term.moves and term.differentiable:
            continue  # connected, constant and flat: nothing that could be shown broken
        why = "is not connected to any parameter" if not term.differentiable else "has a gradient of exactly zero"
        follows = "although its value follows the network's weights" if term.moves else "and its value is constant"
        yield Found(
            message=f"The loss term {term.term!r} ({term.value:.3g}) {why}, {follows}: its weight has no effect.",
            standing=Standing.DEMONSTRATED if term.moves else Standing.SUSPECTED,
            severity=Severity.CRITICAL if len(terms) == 1 else None,
            location=term.where,
            numbers={"value": term.value, "differentiable": term.differentiable},
            remedy="Look for no_grad, detach(), .item(), a threshold or an integer cast between the network and it.",
            proposals=(Proposal(treatment="drop-term", parameters={"term": term.term}),) if len(terms) > 1 else (),
        )
