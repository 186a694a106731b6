"""D119 for vectors: frames that are moved in another way than the motion between them."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.probed_functions import VectorsTried
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "D119",
    "augmentation-not-equivariant",
    Severity.CRITICAL,
    needs=(VectorsTried,),
    thing="items of two frames and the motion between them",
    vectors_off=Threshold(0.2, "of the items that were made; two at least"),
)
def vectors_left_behind(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """Vectors of a motion that no longer belong to their frames once these were turned, mirrored or scaled.

    The entries that the data set keeps say that an array of two channels is the motion between two pictures, and how
    it is written: the one frame fetched along the vectors is the other. Items are made of them with other random
    numbers each time, in a child process; `vectors_off` of them do not keep that, and do once all vectors are turned,
    mirrored or scaled alike. `demonstrated`.
    """
    for seen in evidence.of(VectorsTried):
        if seen.broken < max(2.0, limits.vectors_off * seen.draws):
            continue
        how = {360.0: "mirrored", 0.5: "scaled by a half or two"}.get(seen.turn, f"turned by {seen.turn:.0f} degrees")
        yield Found(
            variant="vectors",
            message=f"The vectors of {seen.dataset} do not belong to its frames after augmentation: in {seen.broken} "
            f"of {seen.draws} items the one frame, fetched along them, is the other only once all are {how} (median).",
            standing=Standing.DEMONSTRATED,
            location=seen.where,
            numbers={"broken": seen.broken, "draws": seen.draws, "turn": seen.turn},
            remedy="Turn, mirror and scale the vectors with the frames; the y axis of an image points down.",
        )
