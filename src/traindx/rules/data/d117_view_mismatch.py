"""D117: an input view is not the projection of its target."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.projection import ViewMatch
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule
from traindx.rules.physics._shared import turned_in_part


@rule(
    "D117",
    "view-mismatch",
    Severity.CRITICAL,
    needs=(ViewMatch,),
    share=Threshold(0.05, "of the radiographs; a single odd file is for the audit of the data"),
    trusted=Threshold(0.95, "correlation in the best orientation: then the renderer shows what the radiograph shows"),
)
def view_mismatch(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A radiograph that the network is given is not the projection of its own target.

    What it finds:
        Augmentation that mirrors image and volume along different axes, radiographs that are mirrored in training and
        not in use, exchanged views, files that lie upside down.
    Why it stops learning:
        Image and target contradict each other in as many samples as were turned: the network learns the mean of both.
        If only one split is turned, it is asked in use for something that it was never shown.
    Evidence it needs:
        ViewMatch (check *view-match*): radiographs as given, and rendered from the targets of the same batch.
    How it decides:
        Each radiograph is correlated with the projection of its target as it is, mirrored, upside down, turned,
        transposed, and with that of another view. Where another orientation fits better by the margin of the record in
        more than `share` of the samples, and that best fit is at least `trusted`, it is `demonstrated`. If nothing fits
        that well, the renderer is not to be trusted with this question (see P601 to P606), and the rule is silent. If
        all samples of all splits are turned alike, it may be the renderer that is: that is left to P604.
    Remedy:
        Draw one transformation a sample, apply it to the volume, and render the radiograph from the result.
    Trial it proposes:
        None; the path is fixed, not tuned.
    Known false positives:
        Bodies that are symmetric to within the margin are never reported.
    References:
        Cohen and Welling, Group equivariant convolutional networks, ICML 2016.
    """
    records = evidence.of(ViewMatch)
    for record in records:
        if record.better <= limits.share * record.samples or record.best < limits.trusted:
            continue
        if not turned_in_part(evidence, record.view):
            continue
        other = [one for one in records if one.view == record.view and one.split != record.split]
        clean = [one.split for one in other if one.better == 0]
        beside = f" The {clean[0]} images are as they should be." if clean else ""
        yield Found(
            message=f"{record.better} of {record.samples} {record.view} radiographs of {record.split} fit the "
            f"projection of their own target better {_put(record.how)} (best fit {record.best:.3f}).{beside}",
            standing=Standing.DEMONSTRATED,
            location=record.where,
            numbers={
                "better": record.better,
                "samples": record.samples,
                "as_it_is": round(record.as_it_is, 4),
                "best": round(record.best, 4),
            },
            remedy="Turn image and volume by one transformation, in training as in use.",
        )


def _put(how: str) -> str:
    return f"as {how}" if how.startswith("the ") else f"{how}"
