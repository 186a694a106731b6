"""P603: two views render the same image."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.projection import ViewDifference
from traindx.finding import Proposal, Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "P603",
    "angle-ignored",
    Severity.MAJOR,
    needs=(ViewDifference,),
    same=Threshold(0.01, "frontal and lateral images of the asymmetric phantom differ by 0.3 and more"),
)
def angle_ignored(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """What it finds:
        Two views of an asymmetric phantom are the same image: the angle (or the name of the view) never reaches
        the renderer.

    Why it stops learning:
        The lateral radiograph is compared with a frontal projection. The loss is not zero at the truth, and its
        gradient works against the frontal term.

    Evidence it needs:
        ``Case.projection`` with two views or more.

    How it decides:
        Mean absolute difference of the two images below ``same`` of their contrast.

    Remedy:
        Pass the view or its angle on to the renderer, and test it: 0 degrees must differ from 90.

    Trial it proposes:
        ``projection``, where the case offers a reference renderer.

    Known false positives:
        Two views that are meant to be the same (repeat exposures): give them one name.

    References:
        None; the phantom is an ellipsoid with three different axes and a ball off its centre.
    """
    for record in evidence.of(ViewDifference):
        if record.relative < limits.same:
            yield Found(
                message=f"The {record.first} and the {record.second} radiograph of an asymmetric phantom differ by "
                f"{100 * record.relative:.2g} % of their contrast: the view is ignored, "
                f"and {record.second} is never rendered.",
                standing=Standing.DEMONSTRATED,
                location=record.where,
                numbers={"relative_difference": record.relative},
                remedy="Pass the view (angle) to the renderer and rotate the rays accordingly.",
                proposals=(Proposal(treatment="projection"),),
            )
