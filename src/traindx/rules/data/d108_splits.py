"""D108 where the data are divided: parts of a split that have items in common."""

from __future__ import annotations

from collections.abc import Iterator

from traindx.evidence.base import Evidence
from traindx.evidence.observed_items import SharedItems
from traindx.evidence.probed_functions import SplitTried
from traindx.finding import Location, Severity, Standing
from traindx.rules.base import Found, Limits, Threshold, rule


@rule(
    "D108",
    "patient-leak",
    Severity.CRITICAL,
    needs=(SplitTried,),
    thing="functions that divide the data",
    common=Threshold(0.02, "of a part's items that are in the other part as well; the parts of a split have none"),
)
def parts_have_items_in_common(evidence: Evidence, limits: Limits) -> Iterator[Found]:
    """A function that divides the data returns parts that have items in common.

    It is called again in a child process, with the arguments that the script gives it. The parts are told apart by the
    names under which it returns them. ``suspected`` where a share of `common` of one part is in the other: what it
    returns may be positions in something else. Where items of the validation were seen in training, number for number,
    that is the finding, and it names this function.
    """
    if any(one.shared for one in evidence.of(SharedItems)):
        return
    for one in evidence.of(SplitTried):
        if one.shared < max(1.0, limits.common * one.items):
            continue
        against = "the training part" if one.part != "test and validation" else "the validation part"
        name = "test" if one.part == "test and validation" else one.part
        yield Found(
            variant="parts-in-common",
            message=f"{one.function} returns {one.items} items for {name}, of which {one.shared} are in {against} too.",
            standing=Standing.SUSPECTED,
            location=one.where,
            numbers={"shared": one.shared, "items": one.items, "training": one.training},
            remedy="Divide what is left after the first division, and map its positions back to the whole.",
        )


def divided_by(evidence: Evidence) -> Location | None:
    """What a function returns that divides the data and gives parts with items in common; None if there is none."""
    found = [one for one in evidence.of(SplitTried) if one.shared and one.part != "test and validation"]
    return found[0].where if len(found) == 1 else None
