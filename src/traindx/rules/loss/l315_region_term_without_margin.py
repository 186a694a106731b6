"""L315 region-term-without-margin."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.regions import BoxDirection
from traindx.finding import Proposal, Severity
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "L315",
    "region-term-without-margin",
    Severity.MINOR,
    needs=(BoxDirection,),
    faint=Threshold(0.01, "of the value for a blank map, or of 1 where that is 0: the term is content"),
)
def region_term_without_margin(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What it finds:
        A box term that is content as soon as the map is a hair's breadth higher inside boxes than outside.

    Why it stops learning:
        It hardly does: the sign is right. But the term falls silent while the map is still nearly flat, and the other
        terms then decide where the map is hottest.

    Evidence it needs:
        ``Case.regions``: the value of the term where boxes are lit by a tenth of a logit.

    How it decides:
        The term points the right way in every pair (else L301), and is 0 for boxes that are lit by a tenth of a logit
        as for those lit fully. Always suspected: whether it matters, and whether the direction is to blame, only a
        trial can say.

    Remedy:
        Ask for a margin, max(0, m - (inside - outside)), of a logit or two.

    Trial it proposes:
        ``box-margin`` where the case offers it; and ``flip-term``, which rule out the sign: turned, the term must harm.

    Known false positives:
        Terms on probabilities that saturate.

    References:
        Margin as in Hadsell, Chopra and LeCun, CVPR 2006.
    """
    for record in evidence.of(BoxDirection):
        content = limits.faint * max(record.at_blank, 1.0)
        if record.raised < 1 or not record.below_margin <= content or not record.at_truth_single <= content:
            continue
        yield Found(
            message=f"The term {record.term!r} is {record.below_margin:.2g} already for boxes that are lit by a tenth "
            f"of a logit: it asks for no margin. Its direction is right: a step downhill raises the inside in all "
            f"{record.pairs} pairs.",
            location=record.where,
            numbers={"at a tenth of a logit": record.below_margin, "blank": record.at_blank, "raised": record.raised},
            remedy="Ask for a margin of a logit or two between inside and outside.",
            proposals=(
                Proposal(treatment="flip-term", parameters={"term": record.term}),
                Proposal(treatment="box-margin"),
            ),
        )
