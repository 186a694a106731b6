"""D148 labels-that-never-occur."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.probed_labels import LabelsCompared
from traindx.finding import Severity
from traindx.rules.base import Found, Limits, Threshold, requires, rule


@rule(
    "D148",
    "labels-that-never-occur",
    Severity.MAJOR,
    needs=(LabelsCompared,),
    looked_at=requires(
        LabelsCompared,
        lambda seen, limits: seen.maps >= limits.compared_maps,
        otherwise="label maps were compared with numbers too rarely",
    ),
    thing="comparisons of label maps with numbers",
    compared_maps=Threshold(8, "label maps, in which a class that is rare would have occurred"),
    beyond=Threshold(3, "above the largest label; 255 and the like stand for what is to be ignored"),
)
def labels_that_never_occur(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A function looks for label numbers that the data do not have, and never for one that they have.

    What it finds:
        Regions of one convention (1, 2 and 3) made from labels of another (1, 2 and 4); a table of classes that is off
        by one; a library's transform for labels of an older edition of a data set.
    Why it stops learning:
        The class that is looked for is empty in every target, and the one that is there is trained as background.
    Evidence it needs:
        LabelsCompared (a watched script): items are made once more in a child process, in which every comparison of a
        map of few whole numbers with a number is noted, of numpy and of torch.
    How it decides:
        Of the numbers that a function looks for (``==``, ``isin``), some occur and at least one, no further than
        `beyond` above the largest label, occurs in none of at least `compared_maps` maps; and a label above the
        smallest occurs that no comparison of the function (``>`` and ``!=`` included) tells from it: `suspected`, as
        the rest of the data may have what was not seen.
    Remedy:
        Look for the numbers that the label files have.
    Trial it proposes:
        None; fix it.
    Known false positives:
        A class that is too rare to be in what was seen, in a function that leaves another class out on purpose.
    References:
        None.
    """
    for seen in evidence.of(LabelsCompared):
        never = [one for one in seen.never if 0 < one <= max(seen.values, default=0) + limits.beyond]
        occurs = [one for one in seen.named if one in seen.values and one > min(seen.values)]
        if seen.maps < limits.compared_maps or not never or not occurs or not seen.unnamed:
            continue
        share = f"{seen.items} of {seen.of} items" if seen.items else f"{seen.maps} label maps"
        yield Found(
            message=f"{seen.function} looks for label {_listed(never)}, which none of {share} has, and never for "
            f"{_listed(seen.unnamed)}, which occurs (labels seen: {_listed(seen.values)}).",
            location=seen.where,
            numbers={"never": _listed(never), "unnamed": _listed(seen.unnamed), "maps": seen.maps},
            remedy=f"Say what label {_listed(seen.unnamed)} is; the data have no {_listed(never)}.",
        )


def _listed(values: tuple[float, ...] | list[float]) -> str:
    return ", ".join(f"{value:g}" for value in values)
