"""L313 terms-contradict."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.regions import BoxDirection
from traindx.finding import Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "L313",
    "terms-contradict",
    Severity.MAJOR,
    needs=(BoxDirection,),
    looked_at=requires(
        BoxDirection,
        lambda record, limits: record.several >= limits.pairs and record.at_blank > 0,
        otherwise="too few images with several boxes were in the batches",
    ),
    left=Threshold(0.25, "of the value for a blank map, at the truth; a term whose parts agree has 0 there"),
    single=Threshold(0.05, "of the value for a blank map: images with one box show that the term can be satisfied"),
    pairs=Threshold(3, "pairs with several boxes, so that one odd annotation decides nothing"),
)
def terms_contradict(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What it finds:
        A box term whose parts want opposite things: every box of a concept counts the other boxes of the same concept
        as its outside.

    Why it stops learning:
        What one box raises the other one lowers. The map can satisfy neither, and images with several lesions, the
        severe ones, teach that lesions are to be left dark.

    Evidence it needs:
        ``Case.regions``: the value of the term where every box is lit, for images with one and with several boxes of a
        concept.

    How it decides:
        The term is (almost) 0 at the truth for images with one box (below ``single`` of its value for a blank map),
        and more than ``left`` of that value for images with several: demonstrated.

    Remedy:
        Take the union of the boxes of one concept before the term is computed.

    Trial it proposes:
        ``drop-term``, and ``union-of-boxes`` where the case offers it.

    Known false positives:
        None known; a term that cannot be satisfied by one box either is left to L312.

    References:
        None.
    """
    for record in evidence.of(BoxDirection):
        if record.several < limits.pairs or not record.at_blank > 0:
            continue
        satisfied = record.at_truth_single <= limits.single * record.at_blank
        left = record.at_truth_several / record.at_blank
        if not satisfied or not left > limits.left:
            continue
        yield Found(
            message=f"With every box lit the term {record.term!r} is {record.at_truth_single:.2g} for images with one "
            f"box a concept, and {record.at_truth_several:.2g} for images with several ({record.at_blank:.2g} for a "
            "blank map): boxes of one concept count one another as outside.",
            standing=Standing.DEMONSTRATED,
            location=record.where,
            numbers={
                "one box": record.at_truth_single,
                "several boxes": record.at_truth_several,
                "blank": record.at_blank,
                "pairs": record.several,
            },
            remedy="Take the union of the boxes of a concept first.",
            proposals=(
                Proposal(treatment="union-of-boxes"),
                Proposal(treatment="drop-term", parameters={"term": record.term}),
            ),
        )
