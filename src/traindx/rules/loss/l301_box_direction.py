"""L301 loss-prefers-worse, for a term that looks at boxes."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.regions import BoxDirection
from traindx.finding import Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "L301",
    "loss-prefers-worse",
    Severity.CRITICAL,
    needs=(BoxDirection,),
    raised=Threshold(0.5, "of the pairs; a term of the right sign raises the inside in all of them"),
)
def box_term_inverted(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A box term that lowers the map inside boxes against outside.

    At a map that says nothing yet, a step down the term must raise the logits inside boxes against those outside.
    ``demonstrated`` where it does so in fewer than ``raised`` of the pairs of image and concept.
    """
    for record in evidence.of(BoxDirection):
        if record.raised >= limits.raised:
            continue
        yield Found(
            message=f"A step down the term {record.term!r} lowers the map inside boxes against outside in "
            f"{100 * (1 - record.raised):.0f} % of {record.pairs} pairs of image and concept (inside "
            f"{record.inside:+.2g}, outside {record.outside:+.2g} a step): its sign is wrong.",
            standing=Standing.DEMONSTRATED,
            location=record.where,
            numbers={"raised": record.raised, "inside": record.inside, "outside": record.outside},
            remedy="Turn the sign of the term.",
            proposals=(
                Proposal(treatment="flip-term", parameters={"term": record.term}),
                Proposal(treatment="drop-term", parameters={"term": record.term}),
            ),
        )
