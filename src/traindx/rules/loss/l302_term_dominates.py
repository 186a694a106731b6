"""L302 term-dominates."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from traindx.evidence.base import Evidence
from traindx.evidence.observed_loss import LossTermSeen
from traindx.finding import Location, Proposal, Severity
from traindx.rules.base import Found, Limits, Threshold, requires, rule
from traindx.rules.loss._terms import several_terms


@rule(
    "L302",
    "term-dominates",
    Severity.MAJOR,
    needs=(LossTermSeen,),
    looked_at=(
        several_terms,
        requires(
            LossTermSeen,
            lambda term, limits: term.meets_data and len(term.gradient_shares) >= limits.looks,
            otherwise="no term that compares with a target had its gradient taken apart",
        ),
    ),
    regulariser=Threshold(0.6, "share of the gradient's norm that a term has which does not look at the data"),
    task=Threshold(0.2, "share of all terms that do look at the data together"),
    opposed=Threshold(-0.3, "cosine between a regulariser's gradient and that of the rest, 0 for unrelated ones"),
    looks=Threshold(2, "iterations at which the gradients were taken apart"),
)
def term_dominates(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A term of the loss that does not look at the data decides where the weights go.

    What it finds:
        A regulariser (KL, total variation, weight penalty, entropy) whose gradient outweighs that of all terms that
        compare with a target, or opposes it with comparable force.
    Why it stops learning:
        The cheapest way to lower such a loss is to ignore the data: a constant output, a collapsed code.
    Evidence it needs:
        LossTermSeen (a watched script): terms recovered from the arithmetic of the loss, their gradients taken one by
        one.
    How it decides:
        A term counts as looking at the data if a tensor without gradient (a target) meets a prediction in it. The
        median share of the gradient's norm over at least `looks` iterations: regulariser above `regulariser` while all
        others are below `task` together; or regulariser above the task terms and its cosine with the rest below
        `opposed`. Terms on derivatives of a network are left alone: an equation that the network is to obey is a task.
        `suspected`; the trial of another weight proves it.
    Remedy:
        Divide sums by the number of elements, lower the weight until the share is near a tenth, warm it up.
    Trial it proposes:
        `reweight-term` with factor 0.01, and `drop-term`.
    Known false positives:
        Adversarial terms, which do not look at the data either and may be meant to lead.
    References:
        Chen et al., GradNorm, ICML 2018; Bowman et al., Generating sentences from a continuous space, CoNLL 2016
        (KL that collapses a code).
    """
    losses: dict[Location | None, list[LossTermSeen]] = {}
    for term in evidence.of(LossTermSeen):
        if len(term.gradient_shares) >= limits.looks:
            losses.setdefault(term.backward, []).append(term)
    for terms in losses.values():
        tasks = [term for term in terms if term.meets_data]
        if not tasks or len(terms) < 2:
            continue
        together = sum(median(term.gradient_shares) for term in tasks)
        for term in terms:
            share, cosine = median(term.gradient_shares), median(term.cosines)
            leads = share >= limits.regulariser and together <= limits.task
            fights = share > together and cosine <= limits.opposed
            if term.meets_data or term.of_derivatives or not (leads or fights):
                continue
            opposed = f" and points against them (cosine {cosine:.2f})" if cosine <= limits.opposed else ""
            summed = "; it is a sum over its elements, the others are means" if term.sums else ""
            yield Found(
                message=f"The term {term.name!r} (weight {term.weight:g}) has {100 * share:.0f} % of the gradient, the "
                f"terms that look at the data have {100 * together:.0f} %{opposed}{summed}.",
                location=term.where,
                numbers={
                    "share": round(share, 4),
                    "task_share": round(together, 4),
                    "cosine": round(cosine, 3),
                    "weight": term.weight,
                },
                remedy=("Divide it by the number of elements, as the other terms are. " if term.sums else "")
                + "Lower its weight until its share is near a tenth, or warm it up.",
                proposals=(
                    Proposal(treatment="reweight-term", parameters={"term": term.name, "factor": 0.01}),
                    Proposal(treatment="drop-term", parameters={"term": term.name}),
                ),
            )
