"""E823 figure-of-a-small-part."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_evaluation import FigureRegion
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "E823",
    "figure-of-a-small-part",
    Severity.MAJOR,
    needs=(FigureRegion,),
    thing="figures of a part of the output",
    share=Threshold(0.1, "of the area: cropping a border leaves more than half of it"),
    contrast=Threshold(0.5, "of the spread of the whole output: what lies there is nearly uniform"),
    calls=Threshold(3, "figures of such a part; fewer may be for a plot"),
)
def figure_of_a_small_part(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A figure is computed of a small and nearly uniform part of the image, such as one corner.

    What it finds:
        ``slice(None, border), slice(-border, None)``, which was meant to take a border off and keeps one corner.
    Why it stops learning:
        It does not; but the figure is that of background, far too good, and moves with nothing that matters.
    Evidence it needs:
        FigureRegion (a watched script): what was cut out of outputs in evaluation and became a single number.
    How it decides:
        At least `calls` numbers are of parts of less than `share` of the area whose values spread less than `contrast`
        of the whole output's, and no number is of the whole output: `suspected`.
    Remedy:
        Crop ``border:-border`` on both axes.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A region of interest that is small and uniform, such as one to measure noise in.
    References:
        None.
    """
    for seen in evidence.of(FigureRegion):
        if seen.whole or seen.calls < limits.calls or seen.share >= limits.share or seen.contrast >= limits.contrast:
            continue
        yield Found(
            message=f"Figures of the output of {seen.network} are of {100 * seen.share:.1f} % of its area, where its "
            f"values spread {100 * seen.contrast:.0f} % as much as over the whole: that is background, or one corner.",
            location=seen.where,
            numbers={"share": seen.share, "contrast": seen.contrast, "calls": seen.calls},
            remedy="To take a border off, keep border:-border along both axes.",
        )
