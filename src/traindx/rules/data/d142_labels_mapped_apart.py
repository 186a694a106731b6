"""D142 labels-mapped-apart."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_loss import LossCall
from traindx.evidence.probed_functions import LabelMapTried
from traindx.finding import Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "D142",
    "labels-mapped-apart",
    Severity.MAJOR,
    needs=(LabelMapTried,),
    thing="functions that give labels other numbers",
    maps=Threshold(2, "maps, of which two contradict each other"),
)
def labels_mapped_apart(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A function that renumbers labels makes one label into different ones, or not what its own table says.

    What it finds:
        `for old, new in table.items(): label[label == old] = new`, which replaces again what it has just replaced; and
        codes made consecutive image by image, so that a class has the number 2 in one image and 1 in another, where a
        class is missing.
    Why it stops learning:
        The network is told that one tissue is two classes, or two are one.
    Evidence it needs:
        LabelMapTried (a watched script): what every value became, in several calls. LossCall for the second kind.
    How it decides:
        The function has a table of numbers, agrees with it for some values or follows its entries in a chain, and
        differs for others: `suspected`, as the table may serve another purpose.
        A value becomes this in one map and that in the next, while a loss takes classes as targets: `suspected`.
    Remedy:
        Read from the old array and write into a new one; number the classes of the data set, not those of the image.
    Trial it proposes:
        None; fix it.
    Known false positives:
        Numbers of instances, which are made consecutive image by image on purpose, beside a loss of classes.
    References:
        None.
    """
    classes = max((call.classes for call in evidence.of(LossCall)), default=0)
    for one in evidence.of(LabelMapTried):
        if one.wrong:
            value, said, became = (f"{number:g}" for number in one.wrong)
            merged = f" {one.merged} of its values have become one with others." if one.merged else ""
            yield Found(
                message=f"{one.function} does not do what its table of {one.declared} replacements says: {value} "
                f"should become {said} and becomes {became}.{merged}",
                standing=Standing.SUSPECTED,
                location=one.where,
                numbers={"value": one.wrong[0], "expected": one.wrong[1], "became": one.wrong[2]},
                remedy="What was replaced already is replaced again: select in the old array, assign in a copy.",
                variant="table",
            )
        elif one.conflict and one.maps >= limits.maps and classes:
            value, first, second = (f"{number:g}" for number in one.conflict)
            yield Found(
                message=f"{one.function} makes label {value} into {first} in one map and into {second} in another: "
                "what a label becomes depends on which others are in the image.",
                standing=Standing.SUSPECTED,
                location=one.where,
                numbers={"value": one.conflict[0], "once": one.conflict[1], "again": one.conflict[2]},
                remedy="Number the classes once for the data set, not image by image.",
                variant="image",
            )
