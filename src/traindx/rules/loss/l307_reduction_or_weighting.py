"""L307 reduction-or-weighting."""

from __future__ import annotations

from collections.abc import Iterator
from statistics import median

from traindx.evidence.base import Evidence
from traindx.evidence.observed_loss import LossTermSeen
from traindx.finding import Location, Proposal, Severity
from traindx.rules.base import Found, Limits, Threshold, requires, rule
from traindx.rules.loss._terms import several_terms


@rule(
    "L307",
    "reduction-or-weighting",
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
    drowned=Threshold(0.02, "share of the gradient that a term is left with; below it, it might as well not be there"),
    looks=Threshold(2, "iterations at which the gradients were taken apart"),
)
def reduction_or_weighting(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Terms of one loss are reduced differently, or weighted so that one has no effect.

    What it finds:
        A term that sums over its elements beside one that takes their mean, so that the mean is drowned; a term that
        the script weights to practically nothing.
    Why it stops learning:
        The weights no longer mean what they say, and change with image and batch size.
    Evidence it needs:
        LossTermSeen (a watched script).
    How it decides:
        A term that looks at the data is left with less than `drowned` of the gradient's norm while another term of the
        same loss, which does too, is a sum over elements and has the rest. `suspected`. A sum that is a regulariser is
        L302.
    Remedy:
        The same reduction everywhere (usually the mean), then weights of the order of one.
    Trial it proposes:
        `reweight-term` for the sum, by the ratio of the two shares.
    Known false positives:
        A term that is meant to be a faint guide.
    References:
        None.
    """
    losses: dict[Location | None, list[LossTermSeen]] = {}
    for term in evidence.of(LossTermSeen):
        if len(term.gradient_shares) >= limits.looks:
            losses.setdefault(term.backward, []).append(term)
    for terms in losses.values():
        sums = [term for term in terms if term.sums and term.meets_data]
        means = [term for term in terms if not term.sums and term.meets_data]
        for heavy in sums:
            drowned = [term for term in means if median(term.gradient_shares) < limits.drowned]
            share = median(heavy.gradient_shares)
            if not drowned or share < 1 - 3 * limits.drowned * len(terms):
                continue
            names = " and ".join(repr(term.name) for term in drowned)
            least = min(median(term.gradient_shares) for term in drowned)
            yield Found(
                variant="summed",
                message=f"The term {heavy.name!r} adds up its elements while {names} takes the mean: "
                f"it has {100 * share:.1f} % of the gradient, {names} {100 * least:.2g} %.",
                location=heavy.where,
                numbers={"share": share, "drowned_share": least, "weight": heavy.weight},
                remedy="Use the same reduction in every term (reduction='mean'), then set the weights.",
                proposals=(
                    Proposal(
                        treatment="reweight-term",
                        parameters={"term": heavy.name, "factor": max(1e-6, least / max(share, 1e-12))},
                    ),
                ),
            )
