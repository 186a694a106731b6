"""D133 picture-mask-turned."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.model_in_use import PictureMarker
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "D133",
    "picture-mask-turned",
    Severity.MINOR,
    needs=(PictureMarker,),
    overlap=Threshold(0.5, "intersection over union; resampling at the rim of the mark leaves above 0.8"),
)
def picture_mask_turned(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A picture shows an image and its mask turned differently.

    What it finds:
        An overlay whose image is transposed for display and whose mask is not, or the other way round.
    Why it stops learning:
        It does not; but every picture says that segmentation or registration is wrong, or hides that it is.
    Evidence it needs:
        PictureMarker (check *bookkeeping*): ``Case.deployment.picture``.
    How it decides:
        A mark that no turn brings onto itself is given as image and as mask. Where both are drawn they overlap by less
        than `overlap`: `demonstrated`.
    Remedy:
        Take image and mask through one function.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A picture that shows the mask beside the image and not on it.
    References:
        None.
    """
    for seen in evidence.of(PictureMarker):
        if seen.overlap >= limits.overlap:
            continue
        said = f": the mask is {seen.turned}" if seen.turned else ""
        yield Found(
            message=f"In the picture a mask overlaps the image it was made from by {100 * seen.overlap:.0f} %{said}.",
            standing=Standing.DEMONSTRATED,
            location=seen.where,
            numbers={"overlap": seen.overlap, "turned": seen.turned},
            remedy="Take image and mask through one function before they are drawn.",
        )
